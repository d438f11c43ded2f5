//! What the host does with a machine that has the monitor: requests, reset, watchdog, `inject`.

use std::collections::HashSet;
use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control::layout::{GUEST_IMAGE, RAM_BASE, RESERVED_LENGTH};
use control::{Command as Code, Counter, LINE, PAGE, Policy, Request, Status};

use crate::command::Command;
use crate::ktap::{Document, comment};
use crate::machine::mailbox::Mailbox;
use crate::machine::tiny::{AMPLE, Conduit, SPINS, START, Tiny, echoes, resets};
use crate::machine::watchdog::Watchdog;
use crate::machine::{End, Machine};

/// A check, on a monitor. Gives a comment.
type Check = fn(&Path) -> Result<String>;

const CHECKS: [(&str, Check); 10] = [
    ("the guest is entered soon", entered),
    ("poison is listed, queried and cleared", poison),
    (
        "wrong requests are refused by name and change nothing",
        refusals,
    ),
    ("too much poison is refused as a whole", no_room),
    ("a second record waits for the first", unacknowledged),
    ("a reset makes all of RAM pristine", reset),
    ("a guest's own reset makes its RAM pristine", own_reset),
    (
        "counters can be read when the guest has ended",
        after_the_end,
    ),
    ("a hang is reported, and poison can still be placed", hang),
    ("several injections at once take turns", at_once),
];

/// Some line of the guest's RAM that nobody uses.
const ADDRESS: u64 = RAM_BASE + (16 << 20);

/// Runs all checks. Gives whether all passed.
///
/// # Errors
///
/// None so far: what goes wrong is a check that failed.
pub(super) fn check(monitor: &Path) -> Result<bool> {
    let mut document = Document::new(CHECKS.len());
    for (name, check) in CHECKS {
        document.result(&format!("host: {name}"), &check(monitor));
    }
    Ok(document.has_passed())
}

/// A machine with the monitor under a guest that prints `h` and spins.
fn spinning(monitor: &Path) -> Result<(Machine, Mailbox)> {
    start(monitor, &SPINS)
}

fn start(monitor: &Path, program: &[u32]) -> Result<(Machine, Mailbox)> {
    let mut tiny = Tiny::new(program)?;
    tiny.options.monitor = Some(monitor.to_owned());
    let machine = tiny.start()?;
    let mailbox = machine.mailbox()?;
    Ok((machine, mailbox))
}

/// Its time is only told: how long QEMU takes is not the monitor's doing.
fn entered(monitor: &Path) -> Result<String> {
    let start = Instant::now();
    let (_machine, mailbox) = spinning(monitor)?;
    let took = start.elapsed();
    Ok(format!(
        "{} after QEMU was started, {} of it in the monitor",
        milliseconds(took),
        milliseconds(mailbox.boot_time()?)
    ))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn poison(monitor: &Path) -> Result<String> {
    let (_machine, mailbox) = spinning(monitor)?;
    let policy = Policy::ONE_SHOT | Policy::NO_FAR;
    mailbox.poison(ADDRESS, 3 * LINE, policy)?;
    mailbox.clear(ADDRESS + LINE, LINE)?;
    let found = mailbox.list()?;
    ensure!(
        found.len() == 2 && found.iter().all(|range| range.policy == policy),
        "listed {found:?}"
    );
    ensure!(mailbox.query(ADDRESS)? == Some(policy), "it is not there");
    ensure!(
        mailbox.query(ADDRESS + LINE)?.is_none(),
        "it is still there"
    );
    mailbox.clear_all()?;
    ensure!(mailbox.list()?.is_empty(), "something is left");
    ensure!(
        mailbox.counter(Counter::Poisoned)? == 3,
        "the counter is wrong"
    );
    Ok(String::new())
}

fn refusals(monitor: &Path) -> Result<String> {
    let (machine, mailbox) = spinning(monitor)?;
    let end = RAM_BASE + machine.memory();
    let request = |command: u32, policy, address, length| Request {
        command,
        policy,
        address,
        length,
    };
    let poison = |address, length| request(Code::Poison.raw(), 0, address, length);
    let with_policy = |policy| request(Code::Poison.raw(), policy, ADDRESS, LINE);
    let contradiction = (Policy::RESTARTABLE | Policy::UNCONTAINABLE).bits();
    let wrong = [
        (request(99, 0, ADDRESS, LINE), Status::UnknownCommand),
        (request(0, 0, 0, 0), Status::UnknownCommand),
        (poison(ADDRESS + 1, LINE), Status::Unaligned),
        (poison(ADDRESS, 1), Status::Unaligned),
        (poison(0x900_0000, LINE), Status::OutsideRam),
        (poison(end, LINE), Status::OutsideRam),
        (poison(RAM_BASE - LINE, 2 * LINE), Status::OutsideRam),
        (poison(end - RESERVED_LENGTH, LINE), Status::MonitorMemory),
        (
            poison(end - RESERVED_LENGTH - LINE, 2 * LINE),
            Status::MonitorMemory,
        ),
        (poison(ADDRESS, 0), Status::BadLength),
        (poison(u64::MAX - 63, 128), Status::BadLength),
        (with_policy(1 << 30), Status::BadPolicy),
        (with_policy(Policy::POISONED.bits()), Status::BadPolicy),
        (with_policy(contradiction), Status::BadPolicy),
        (
            request(Code::Notify.raw(), 0, ADDRESS, 99),
            Status::BadArgument,
        ),
        (request(Code::Count.raw(), 0, 999, 0), Status::BadArgument),
    ];
    for (request, status) in wrong {
        let response = mailbox.ask(request)?;
        ensure!(
            response.status == status,
            "{request:x?} is answered with \"{}\", not \"{status}\"",
            response.status
        );
    }
    ensure!(mailbox.list()?.is_empty(), "something is poisoned");
    let refused = mailbox.counter(Counter::Refused)?;
    ensure!(
        refused == wrong.len() as u64,
        "{refused} counted for {}",
        wrong.len()
    );
    let log = mailbox.log(0)?.text;
    ensure!(
        log.lines().count() >= wrong.len(),
        "not each has a line in the log:\n{log}"
    );
    Ok(format!("{} requests", wrong.len()))
}

fn no_room(monitor: &Path) -> Result<String> {
    let (machine, mailbox) = spinning(monitor)?;
    let end = RAM_BASE + machine.memory() - RESERVED_LENGTH;
    let poison = |length| {
        mailbox.ask(Request {
            command: Code::Poison.raw(),
            policy: 0,
            address: ADDRESS,
            length,
        })
    };
    // All or nothing.
    let status = poison(end - ADDRESS)?.status;
    ensure!(
        status == Status::NoRoom,
        "all of RAM is answered with \"{status}\""
    );
    ensure!(mailbox.list()?.is_empty(), "some of it is poisoned");
    let status = poison(PAGE)?.status;
    ensure!(status == Status::Ok, "a page is answered with \"{status}\"");
    ensure!(mailbox.list()?.len() == 1, "the page is not poisoned");
    Ok(String::new())
}

fn unacknowledged(monitor: &Path) -> Result<String> {
    let (_machine, mailbox) = spinning(monitor)?;
    let notice = Request {
        command: Code::Notify.raw(),
        policy: 0,
        address: ADDRESS,
        length: control::Notice::PatrolScrub.raw(),
    };
    for status in [Status::Ok, Status::Unacknowledged] {
        let answer = mailbox.ask(notice)?.status;
        ensure!(
            answer == status,
            "answered with \"{answer}\", not \"{status}\""
        );
    }
    Ok(String::new())
}

fn reset(monitor: &Path) -> Result<String> {
    let (mut machine, mailbox) = spinning(monitor)?;
    machine.console().wait_for("h", AMPLE)?;
    mailbox.poison(ADDRESS, LINE, Policy::default())?;
    let ram = File::options().read(true).write(true).open(machine.ram())?;
    let places = [ADDRESS - RAM_BASE, machine.memory() - RESERVED_LENGTH - 8];
    for place in places {
        ram.write_all_at(b"leftover", place)?;
    }
    let took = machine.reset()?;
    let mailbox = machine.mailbox()?;
    let boot = mailbox.boot_time()?;
    machine.console().wait_for("h", AMPLE)?;
    for place in places {
        let mut bytes = [1; 8];
        ram.read_exact_at(&mut bytes, place)?;
        ensure!(bytes == [0; 8], "{bytes:?} is left at {place:#x} of RAM");
    }
    ensure!(mailbox.list()?.is_empty(), "poison is left");
    Ok(format!(
        "{}, and {} in the monitor until it entered the guest",
        milliseconds(took),
        milliseconds(boot)
    ))
}

fn own_reset(monitor: &Path) -> Result<String> {
    let (mut machine, _) = start(monitor, &resets(Conduit::Smc))?;
    for printed in ["P", "PP"] {
        let end = machine.wait(Some(AMPLE), None)?;
        ensure!(matches!(end, End::Reset), "{end}");
        let text = machine.console().text();
        ensure!(text == printed, "the guest printed {text:?}");
        machine.reset()?;
    }
    Ok(String::new())
}

fn after_the_end(monitor: &Path) -> Result<String> {
    let (mut machine, mailbox) = start(monitor, &echoes(Conduit::Smc))?;
    mailbox.poison(ADDRESS, LINE, Policy::default())?;
    machine.console().send(b"q")?;
    let end = machine.wait(Some(AMPLE), None)?;
    ensure!(matches!(end, End::Off), "{end}");
    ensure!(mailbox.counter(Counter::Poisoned)? == 1, "not counted");
    Ok(String::new())
}

fn hang(monitor: &Path) -> Result<String> {
    let (mut machine, mailbox) = spinning(monitor)?;
    let mut watchdog = Watchdog::new(Duration::from_secs(1));
    let end = machine.wait(Some(AMPLE), Some(&mut watchdog))?;
    let End::Hung(hang) = end else {
        bail!("{end}");
    };
    comment(&hang.to_string());
    let place = GUEST_IMAGE + START + 4 * (SPINS.len() as u64 - 1);
    let guest = hang.processors.first().context("no CPU is reported")?;
    ensure!(
        guest.pc == place,
        "CPU 0 is said to be at {:#x}, not {place:#x}",
        guest.pc
    );
    ensure!(
        guest.state.contains("EL1"),
        "it is said to be in {}",
        guest.state
    );
    ensure!(hang.processors.len() == 2, "the monitor's CPU is missing");
    ensure!(
        hang.monitor_looks == Some(true),
        "the monitor does not answer"
    );
    ensure!(hang.lines == ["h"], "the last lines are {:?}", hang.lines);
    mailbox.poison(ADDRESS, LINE, Policy::default())?;
    ensure!(mailbox.query(ADDRESS)?.is_some(), "it is not there");
    Ok(String::new())
}

fn at_once(monitor: &Path) -> Result<String> {
    const EACH: u64 = 8;
    let (machine, mailbox) = spinning(monitor)?;
    let name = machine.name();
    let inject = |index: u64| {
        let program = env::current_exe()?;
        let command = Command::new(&program.to_string_lossy())
            .args(["inject", "--machine", name, "poison"])
            .arg(format!("{:#x}", ADDRESS + 2 * index * LINE));
        command.capture()
    };
    let inject = &inject;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn(move || {
                    (0..EACH).try_for_each(|index| inject(2 * index + half).map(drop))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect::<Result<Vec<()>>>()
    })?;
    let lines: HashSet<u64> = mailbox.list()?.iter().map(|range| range.address).collect();
    ensure!(
        lines.len() as u64 == 2 * EACH,
        "only {} lines are poisoned",
        lines.len()
    );
    Ok(format!("{} injections", 2 * EACH))
}
