//! One run of the acceptance guest.

use std::fmt;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use control::Counter;

use crate::ktap::{Document, comment};
use crate::machine::watchdog::Watchdog;
use crate::machine::{End, Guest, Machine, Options, Output};

/// How long the guest may be quiet.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run can be told. Displayed as the options of the command that repeats it.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// What QEMU calls the processor
    #[arg(long, value_name = "NAME", default_value = "max")]
    pub(super) cpu: String,
    /// Give the processor memory tags
    #[arg(long)]
    pub(super) mte: bool,
    /// CPUs of the guest
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) smp: usize,
    /// Run on QEMU alone, where only the checks of holes in the memory map make sense
    #[arg(long)]
    pub(super) without_monitor: bool,
    #[arg(skip = 1_u64)]
    pub(super) seed: u64,
    /// Random accesses to make
    #[arg(long, value_name = "NUMBER")]
    pub(super) count: Option<u64>,
    /// Groups of checks to run, separated by commas [default: all]
    #[arg(long, value_name = "GROUPS")]
    pub(super) only: Option<String>,
}

impl Run {
    /// Runs the guest and then looks at the monitor's counters. Gives whether all passed.
    ///
    /// # Errors
    ///
    /// If the machine cannot be started.
    pub(super) fn check(&self, monitor: &Path, guest: &Path) -> Result<bool> {
        comment(&format!("cargo seaworthy check-monitor {self}"));
        let mut machine = Machine::start(&self.options(monitor, guest))?;
        let end = machine.wait(None, Some(&mut Watchdog::new(PATIENCE)))?;
        // The guest may have ended in the middle of a line.
        let guest_passed = has_passed(&machine.console().text());
        let mut document = Document::new(if self.without_monitor { 1 } else { 2 });
        document.result("host: the guest ends by itself", &ended(&end));
        if !self.without_monitor {
            document.result("host: no leaks, no false aborts", &counters(&machine));
        }
        let passed = guest_passed && document.has_passed();
        if !passed {
            if let Ok(mailbox) = machine.mailbox() {
                comment(&format!("the monitor's log:\n{}", mailbox.log(0)?.text));
            }
            comment(&format!(
                "to repeat this run: cargo seaworthy check-monitor {self}"
            ));
        }
        Ok(passed)
    }

    fn options(&self, monitor: &Path, guest: &Path) -> Options {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let guest = Guest::Kernel {
            image: guest.to_owned(),
            initrd: None,
        };
        Options {
            processor: self.cpu.clone(),
            tags: self.mte,
            guest_cpus: self.smp,
            monitor: (!self.without_monitor).then(|| monitor.to_owned()),
            command_line: self.command_line(),
            output: Output::Shown,
            ..Options::new(&format!("check-{}-{number}", process::id()), guest)
        }
    }

    fn command_line(&self) -> String {
        let mut line = format!("seed={}", self.seed);
        if let Some(count) = self.count {
            line += &format!(" count={count}");
        }
        if let Some(only) = &self.only {
            line += &format!(" only={only}");
        }
        line
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "--cpu {}", self.cpu)?;
        if self.mte {
            formatter.write_str(" --mte")?;
        }
        write!(formatter, " --smp {} --seed {}", self.smp, self.seed)?;
        if self.without_monitor {
            formatter.write_str(" --without-monitor")?;
        }
        if let Some(count) = self.count {
            write!(formatter, " --count {count}")?;
        }
        if let Some(only) = &self.only {
            write!(formatter, " --only {only}")?;
        }
        Ok(())
    }
}

/// Whether the guest has printed as many results as it planned, and none that is bad.
fn has_passed(text: &str) -> bool {
    let mut parser = crate::test::KtapParser::default();
    text.lines().for_each(|line| parser.line(line));
    parser.finish().failed.is_empty()
}

fn ended(end: &End) -> Result<String> {
    match end {
        End::Off => Ok(String::new()),
        end => {
            let end = end.to_string();
            comment(&end);
            bail!("{}", end.lines().next().unwrap_or_default());
        }
    }
}

fn counters(machine: &Machine) -> Result<String> {
    let counters = machine.mailbox()?.counters()?;
    let bad: Vec<_> = counters
        .iter()
        .filter(|(counter, count)| {
            matches!(counter, Counter::Leaks | Counter::FalseAborts) && *count != 0
        })
        .map(|(counter, count)| format!("{} {count}", counter.name()))
        .collect();
    if !bad.is_empty() {
        bail!("{}", bad.join(", "));
    }
    let seen = counters.iter().filter(|(_, count)| *count != 0);
    Ok(seen
        .map(|(counter, count)| format!("{} {count}", counter.name()))
        .collect::<Vec<_>>()
        .join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_how_to_repeat_it() {
        let run = Run {
            cpu: "max".to_owned(),
            mte: true,
            smp: 4,
            without_monitor: false,
            seed: 7,
            count: Some(100),
            only: Some("random".to_owned()),
        };
        assert_eq!(
            run.to_string(),
            "--cpu max --mte --smp 4 --seed 7 --count 100 --only random"
        );
        assert_eq!(run.command_line(), "seed=7 count=100 only=random");
    }

    #[test]
    fn a_guest_that_stops_early_has_not_passed() {
        assert!(has_passed("KTAP version 1\r\n1..1\r\nok 1 a\r\n"));
        assert!(!has_passed("KTAP version 1\n1..2\nok 1 a\n"));
        assert!(!has_passed("KTAP version 1\n1..1\nnot ok 1 a\n"));
        assert!(!has_passed(""));
    }
}
