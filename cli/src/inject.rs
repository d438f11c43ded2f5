//! `cargo seaworthy inject`: poisons the memory of a running machine, without its guest's help.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use control::{LINE, Notice, Policy};
use serde_json::{Value, json};

use crate::machine::directory::{self, Record};
use crate::machine::mailbox::{Mailbox, Range};

#[derive(Args)]
pub(crate) struct Options {
    /// The machine, if several run; `machines` names them
    #[arg(long, value_name = "NAME", global = true)]
    machine: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Subcommand)]
enum Action {
    /// Name the machines that run
    Machines,
    /// Name the poisoned lines
    List,
    /// Make every 64-byte line of a range bad
    Poison {
        /// Where it begins: a guest-physical address, a multiple of 64; like all numbers, decimal or,
        /// after 0x, hexadecimal
        #[arg(value_parser = number)]
        address: u64,
        /// Bytes, a multiple of 64
        #[arg(long, value_parser = number, default_value_t = LINE)]
        length: u64,
        /// What happens when a line is met, separated by commas: one-shot, no-far, no-record,
        /// permanent, no-physical-address, processor, fatal, restartable, uncontainable, serror
        #[arg(long, value_parser = policy, default_value = "", hide_default_value = true)]
        policy: Policy,
    },
    /// Make every line of a range good
    Clear {
        /// Where it begins: a guest-physical address, a multiple of 64; like all numbers, decimal or,
        /// after 0x, hexadecimal
        #[arg(value_parser = number)]
        address: u64,
        /// Bytes, a multiple of 64
        #[arg(long, value_parser = number, default_value_t = LINE)]
        length: u64,
    },
    /// Make every line good
    ClearAll,
    /// Say whether a line is poisoned, and how
    Query {
        /// Where it begins: a guest-physical address, a multiple of 64
        #[arg(value_parser = number)]
        address: u64,
    },
    /// Report an error to the guest that nobody has met
    Notify {
        /// What is reported: corrected, threshold-exceeded, patrol-scrub, serror-corrected,
        /// serror-restartable, serror-recoverable or serror-uncontainable
        #[arg(value_parser = notice)]
        kind: Notice,
        /// Where the error is said to be: a guest-physical address
        #[arg(value_parser = number)]
        address: u64,
    },
    /// Print what the monitor has counted
    Counters,
    /// Print the monitor's log
    Log,
}

/// Does one thing to one machine.
///
/// # Errors
///
/// If there is no such machine, or its monitor refuses or does not answer.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let machines = directory::machines()?;
    let answer = if let Action::Machines = options.action {
        Answer::machines(&machines)
    } else {
        let machine = choose(&machines, options.machine.as_deref())?;
        if !machine.monitor {
            bail!(
                "machine {} runs without the monitor, so nothing can be injected",
                machine.name
            );
        }
        let mailbox = Mailbox::open(&machine.ram, machine.memory)
            .with_context(|| format!("machine {}", machine.name))?;
        act(&options.action, &mailbox).with_context(|| format!("machine {}", machine.name))?
    };
    if options.json {
        println!("{}", answer.data);
    } else {
        print!("{}", answer.text);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is printed: for people, or for programs.
struct Answer {
    text: String,
    data: Value,
}

/// The machine of this name, or the only one.
fn choose<'a>(machines: &'a [Record], name: Option<&str>) -> Result<&'a Record> {
    let names = || {
        let names: Vec<_> = machines.iter().map(|machine| &*machine.name).collect();
        names.join(", ")
    };
    match (name, machines) {
        (_, []) => bail!("no machine runs; start one, for example with `cargo seaworthy linux`"),
        (None, [machine]) => Ok(machine),
        (None, _) => bail!(
            "several machines run: {}; choose one with --machine NAME",
            names()
        ),
        (Some(name), _) => machines
            .iter()
            .find(|machine| machine.name == name)
            .with_context(|| format!("no machine named {name} runs; there is: {}", names())),
    }
}

fn act(action: &Action, mailbox: &Mailbox) -> Result<Answer> {
    Ok(match *action {
        Action::Machines => unreachable!("needs no mailbox"),
        Action::List => Answer::ranges(&mailbox.list()?),
        Action::Poison {
            address,
            length,
            policy,
        } => {
            mailbox.poison(address, length, policy)?;
            Answer::range("poisoned", address, length)
        }
        Action::Clear { address, length } => {
            mailbox.clear(address, length)?;
            Answer::range("cleared", address, length)
        }
        Action::ClearAll => {
            mailbox.clear_all()?;
            Answer {
                text: "cleared everything\n".to_owned(),
                data: json!({ "cleared": "all" }),
            }
        }
        Action::Query { address } => Answer::line(address, mailbox.query(address)?),
        Action::Notify { kind, address } => {
            mailbox.notify(kind, address)?;
            Answer {
                text: format!("reported to the guest: {kind} at {address:#x}\n"),
                data: json!({ "notified": kebab(&format!("{kind:?}")), "address": address }),
            }
        }
        Action::Counters => Answer::counters(mailbox)?,
        Action::Log => {
            let log = mailbox.log(0)?;
            let lost = match log.lost {
                0 => String::new(),
                lost => format!("({lost} bytes before this are lost)\n"),
            };
            Answer {
                text: lost + &log.text,
                data: json!({ "log": log.text, "lost": log.lost }),
            }
        }
    })
}

impl Answer {
    fn machines(machines: &[Record]) -> Self {
        let line = |machine: &Record| {
            format!(
                "{}: {} CPUs, {} MiB, {}, QEMU's process {}\n",
                machine.name,
                machine.guest_cpus,
                machine.memory >> 20,
                if machine.monitor {
                    "with the monitor"
                } else {
                    "without the monitor"
                },
                machine.pid
            )
        };
        let text = match machines {
            [] => "no machine runs\n".to_owned(),
            machines => machines.iter().map(line).collect(),
        };
        Self {
            text,
            data: json!(machines),
        }
    }

    fn ranges(ranges: &[Range]) -> Self {
        let text = match ranges {
            [] => "no line is poisoned\n".to_owned(),
            ranges => ranges
                .iter()
                .map(|range| {
                    let lines = match range.length / LINE {
                        1 => "1 line".to_owned(),
                        lines => format!("{lines} lines"),
                    };
                    let end = range.address + (range.length - 1);
                    let policy = describe(range.policy);
                    format!("{:#x}-{end:#x}: {lines}, {policy}\n", range.address)
                })
                .collect(),
        };
        let data = ranges
            .iter()
            .map(|range| {
                json!({
                    "address": range.address,
                    "length": range.length,
                    "policy": names(range.policy),
                })
            })
            .collect();
        Self { text, data }
    }

    fn range(done: &str, address: u64, length: u64) -> Self {
        Self {
            text: format!("{done} {length} bytes at {address:#x}\n"),
            data: json!({ done: { "address": address, "length": length } }),
        }
    }

    fn line(address: u64, policy: Option<Policy>) -> Self {
        Self {
            text: match policy {
                Some(policy) => format!("{address:#x} is poisoned: {}\n", describe(policy)),
                None => format!("{address:#x} is good\n"),
            },
            data: json!({
                "address": address,
                "poisoned": policy.is_some(),
                "policy": policy.map(names),
            }),
        }
    }

    fn counters(mailbox: &Mailbox) -> Result<Self> {
        let counters = mailbox.counters()?;
        let width = counters.iter().map(|(counter, _)| counter.name().len());
        let width = width.max().unwrap_or(0);
        Ok(Self {
            text: counters
                .iter()
                .map(|(counter, count)| format!("{:width$} {count:>10}\n", counter.name()))
                .collect(),
            data: counters
                .iter()
                .map(|(counter, count)| (counter.name().to_owned(), json!(count)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        })
    }
}

/// A policy in words; the default has a name too.
fn describe(policy: Policy) -> String {
    match names(policy) {
        names if names.is_empty() => "as most hardware does".to_owned(),
        names => names.join(","),
    }
}

/// The names of a policy's bits, as `--policy` takes them.
fn names(policy: Policy) -> Vec<String> {
    policy
        .iter_names()
        .map(|(name, _)| name.to_lowercase().replace('_', "-"))
        .collect()
}

/// Reads names of policies, separated by commas.
fn policy(text: &str) -> Result<Policy, String> {
    let mut policy = Policy::empty();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let flag = Policy::from_name(&name.to_uppercase().replace('-', "_"));
        match flag {
            Some(flag) if flag != Policy::POISONED => policy |= flag,
            _ => {
                let known = names(Policy::all().difference(Policy::POISONED));
                return Err(format!(
                    "there is no policy {name}; take {}",
                    known.join(", ")
                ));
            }
        }
    }
    Policy::from_request(policy.bits()).ok_or_else(|| "these contradict each other".to_owned())
}

/// Reads the name of a notice, which is the one it has in the source with dashes.
fn notice(text: &str) -> Result<Notice, String> {
    let name = |notice: &Notice| kebab(&format!("{notice:?}"));
    let mut notices = Notice::ALL.iter();
    notices
        .find(|notice| name(notice) == text)
        .copied()
        .ok_or_else(|| {
            let known: Vec<_> = Notice::ALL.iter().map(name).collect();
            format!("there is no such error; take {}", known.join(", "))
        })
}

/// `PatrolScrub` as `patrol-scrub`, but `SErrorCorrected` as `serror-corrected`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.replace("SError", "Serror").chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Reads a number, decimal or, after `0x`, hexadecimal; `_` may stand between digits.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (&*digits, 10),
    };
    // `from_str_radix` takes a sign.
    if digits.starts_with('+') {
        return Err("it has a sign".to_owned());
    }
    u64::from_str_radix(digits, radix)
        .map_err(|error| format!("{error}; write 4096, or 0x1000 for hexadecimal"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn machine(name: &str) -> Record {
        Record {
            name: name.to_owned(),
            pid: 7,
            ram: PathBuf::from("/ram"),
            memory: 1 << 30,
            guest_cpus: 2,
            monitor: true,
            started: 0,
        }
    }

    #[test]
    fn the_only_machine_needs_no_name() {
        let (one, two) = ([machine("a")], [machine("a"), machine("b")]);
        assert_eq!(choose(&one, None).unwrap().name, "a");
        assert_eq!(choose(&two, Some("b")).unwrap().name, "b");
        let error = |machines, name| choose(machines, name).unwrap_err().to_string();
        assert!(error(&two, None).contains("a, b; choose one with --machine"));
        assert!(error(&two, Some("c")).contains("there is: a, b"));
        assert!(error(&[], None).contains("start one"));
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number("4096"), Ok(4096));
        assert_eq!(number("0x4000_0000"), Ok(0x4000_0000));
        assert_eq!(number("0xffffffffffffffff"), Ok(u64::MAX));
        for bad in ["", "0x", "-1", "+1", "0x+1", "12g", "0x1ffffffffffffffff"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn policies_are_read_and_written_by_name() {
        let both = Policy::ONE_SHOT | Policy::NO_FAR;
        assert_eq!(policy("one-shot,no-far"), Ok(both));
        assert_eq!(names(both).join(","), "one-shot,no-far");
        assert_eq!(policy(""), Ok(Policy::empty()));
        assert!(policy("oneshot").unwrap_err().contains("one-shot"));
        assert!(policy("poisoned").is_err());
        assert!(policy("restartable,uncontainable").is_err());
        for flag in Policy::all().difference(Policy::POISONED).iter() {
            assert_eq!(policy(&names(flag)[0]), Ok(flag));
        }
    }

    #[test]
    fn every_notice_has_a_name() {
        for &kind in Notice::ALL {
            assert_eq!(notice(&kebab(&format!("{kind:?}"))), Ok(kind));
        }
        assert_eq!(notice("patrol-scrub"), Ok(Notice::PatrolScrub));
        assert_eq!(notice("serror-corrected"), Ok(Notice::SErrorCorrected));
        assert!(notice("x").unwrap_err().contains("threshold-exceeded"));
    }

    #[test]
    fn answers_are_for_people_and_for_programs() {
        let ranges = [Range {
            address: 0x4000_0000,
            length: 128,
            policy: Policy::FATAL,
        }];
        let answer = Answer::ranges(&ranges);
        assert_eq!(answer.text, "0x40000000-0x4000007f: 2 lines, fatal\n");
        assert_eq!(
            answer.data,
            json!([{ "address": 0x4000_0000, "length": 128, "policy": ["fatal"] }])
        );
        let answer = Answer::line(64, None);
        assert_eq!(answer.text, "0x40 is good\n");
        assert_eq!(answer.data["poisoned"], false);
        assert_eq!(Answer::machines(&[]).data, json!([]));
    }
}
