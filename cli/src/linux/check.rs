//! `cargo seaworthy check-linux`: what a stock Linux makes of errors. Prints KTAP: what the guest
//! prints, then what the host has seen.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use control::Counter;

use crate::ktap::{Document, comment};
use crate::linux::debian::Unavailable;
use crate::linux::{Boot, PROCESSORS, Parts, counted, provide};
use crate::machine::{End, Machine, Output};
use crate::test::KtapParser;
use crate::tools::Install;
use crate::workspace::Workspace;

/// Time for a boot with all its tests, on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// What the guest runs. The kernel's own lines would stand in the middle of the results, so it
/// prints none but its last; the tests print what they find in its log.
const WITH_ACPI: &str = "loglevel=1 -- /bin/sh -c \"\
    ras --by einj tables load fetch store-clears corrected && \
    ras --by doorbell load fetch store-clears corrected patrol\"";

/// Without ACPI nobody tells Linux what the error is, and there is no EINJ. Here the table of errors,
/// to which our kernel is held, is checked too.
const WITH_DEVICE_TREE: &str = "loglevel=1 -- /bin/sh -c \"\
    ras --by doorbell --unclaimed load fetch store-clears && errno-table\"";

/// What kills a kernel that has no mc-safe copies. Otherwise only the task would die, with all
/// locks that it holds.
const DEADLY: &str = "loglevel=1 oops=panic -- /bin/ras --by doorbell write";

#[derive(Args)]
pub(crate) struct Options {
    /// Boot by EDK2 and with ACPI, so that errors are claimed and EINJ is there
    #[arg(long)]
    acpi: bool,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs Linux sees
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: usize,
}

/// Boots twice: for the tests that Linux survives, and for the one that it does not.
///
/// # Errors
///
/// If something cannot be built or started.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    provide(workspace, install)?;
    let parts = match Parts::prepare(None, None, workspace) {
        Ok(parts) => parts,
        Err(error) => {
            let Some(unavailable) = error.downcast_ref::<Unavailable>() else {
                return Err(error);
            };
            comment(&format!("{error:#}"));
            Document::new(1).skipped("a stock Linux", &unavailable.to_string());
            return Ok(ExitCode::SUCCESS);
        }
    };
    let boot = Boot {
        acpi: options.acpi,
        processor: options.cpu.clone(),
        cpus: options.smp,
        output: Output::Shown,
        ..Boot::new(&format!("check-linux-{}", std::process::id()))
    };
    let survived = check_survival(&parts, &boot)?;
    let died = check_death(&parts, &boot)?;
    Ok(if survived && died {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Gives whether the host's checks have passed; the guest's speak for themselves.
fn check_survival(parts: &Parts, boot: &Boot) -> Result<bool> {
    let command_line = if boot.acpi {
        WITH_ACPI
    } else {
        WITH_DEVICE_TREE
    };
    let mut machine = parts.start(&Boot {
        command_line: command_line.to_owned(),
        ..boot.clone()
    })?;
    let end = machine.wait(Some(LIMIT), None)?;
    let mut document = Document::new(3);
    document.result("Linux switches itself off", &switched_off(&end));
    document.result("all of its tests have passed", &passed(&machine));
    document.result("no leaks, no false aborts", &counters(&machine));
    Ok(document.has_passed())
}

fn check_death(parts: &Parts, boot: &Boot) -> Result<bool> {
    let mut machine = parts.start(&Boot {
        command_line: DEADLY.to_owned(),
        output: Output::Hidden,
        ..boot.clone()
    })?;
    let end = machine.wait(Some(LIMIT), None)?;
    let mut document = Document::new(2);
    document.result(
        "write(2) from a failing line kills a stock Linux",
        &panicked(&end, &machine),
    );
    document.result("no leaks, no false aborts", &counters(&machine));
    Ok(document.has_passed())
}

fn switched_off(end: &End) -> Result<String> {
    ensure!(matches!(end, End::Off), "{end}");
    Ok(String::new())
}

/// As many results as planned, and none that is bad.
fn passed(machine: &Machine) -> Result<String> {
    let text = machine.console().text();
    ensure!(
        text.contains("ended: exit status: 0"),
        "its last words: {}",
        machine.console().last_lines(3).join(" / ")
    );
    let mut parser = KtapParser::default();
    text.lines().for_each(|line| parser.line(line));
    let outcome = parser.finish();
    ensure!(outcome.failed.is_empty(), "{}", outcome.failed.join(", "));
    Ok(format!("{} of them", outcome.passed))
}

fn panicked(end: &End, machine: &Machine) -> Result<String> {
    let text = machine.console().text();
    let line = |with: &str| text.lines().find(|line| line.contains(with)).map(str::trim);
    let error = line("Internal error: synchronous external abort");
    let panic = line("Kernel panic - not syncing");
    if let (End::Reset, Some(error), Some(panic)) = (end, error, panic) {
        return Ok(format!("{error} / {panic}"));
    }
    comment(&machine.console().last_lines(20).join("\n"));
    anyhow::bail!("no panic about an external abort is on the console: {end}")
}

fn counters(machine: &Machine) -> Result<String> {
    let mailbox = machine.mailbox()?;
    for counter in [Counter::Leaks, Counter::FalseAborts] {
        let count = mailbox.counter(counter)?;
        ensure!(count == 0, "{} {count}", counter.name());
    }
    ensure!(mailbox.counter(Counter::Hits)? > 0, "no hits either");
    counted(machine)
}
