//! `cargo seaworthy linux`: a stock Linux on the monitor.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@bench`] | measures how long it takes to boot |
//! | [`boot`] | puts the parts together and starts a machine |
//! | [`debian`] | fetches files of Debian's packages for arm64 |
//! | [`kernel`] | chooses the kernel among them |
//! | [`disk`] | makes RAM disks for our own kernel |
//! | [`initrd`] | makes the RAM disk: programs, shell, modules, ACPI tables |
//! | [`cpio`] | writes its format |
//! | [`check`] | tests what Linux makes of errors |
//! | [`transcript`] | records a session |

pub(crate) mod bench;
mod boot;
pub(crate) mod check;
mod cpio;
mod debian;
pub(crate) mod disk;
mod initrd;
mod kernel;
mod transcript;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use self::boot::{Boot, Parts, needs};
use crate::machine::{End, Machine, Output};
use crate::tools::{self, Install, Lack, Tool};
use crate::workspace::Workspace;

/// What QEMU has and this is tested with.
pub(crate) const PROCESSORS: [&str; 4] = ["max", "neoverse-n1", "neoverse-v1", "cortex-a57"];

#[derive(Args)]
pub(crate) struct Options {
    /// Boot this arm64 `Image`, with EINJ built in [default: Debian's kernel, fetched once]
    #[arg(long, value_name = "IMAGE")]
    kernel: Option<PathBuf>,
    /// With this RAM disk [default: a shell and our test programs]
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Boot as servers do, by UEFI firmware and with ACPI
    #[arg(long)]
    acpi: bool,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs Linux sees
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: usize,
    /// RAM, with M or G; the monitor keeps 32 MiB of it
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1G")]
    memory: u64,
    /// Boot on QEMU alone, for comparison
    #[arg(long)]
    without_monitor: bool,
    /// The name by which `cargo seaworthy inject` finds the machine
    #[arg(long, default_value = "linux")]
    name: String,
    /// Record a session on Debian's kernel instead: a load and a write(2) meet errors
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kernel", "initrd", "acpi", "without_monitor", "command_line"]
    )]
    transcript: Option<PathBuf>,
    /// Added to the kernel's command line; after another `--`, what to run instead of the shell
    #[arg(last = true)]
    command_line: Vec<String>,
}

impl Options {
    fn boot(&self) -> Boot {
        Boot {
            acpi: self.acpi,
            on_monitor: !self.without_monitor,
            processor: self.cpu.clone(),
            cpus: self.smp,
            memory: self.memory,
            command_line: self.command_line.join(" "),
            output: Output::Shown,
            ..Boot::new(&self.name)
        }
    }
}

/// `512M` or `2G`, in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let parse = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "M" => 1 << 20,
            "G" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit)
    };
    parse().ok_or_else(|| "give a number with M or G, such as 512M or 2G".to_owned())
}

/// Boots one Linux with its console on this terminal. Fails unless it switches itself off.
///
/// # Errors
///
/// If something is missing that may not be installed, or cannot be fetched, built or started.
pub(crate) fn run(options: Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    provide(workspace, install)?;
    let boot = options.boot();
    let parts = Parts::prepare(options.kernel, options.initrd, workspace)?;
    if let Some(file) = options.transcript {
        transcript::record(&file, &parts, &boot)?;
        println!("\nRecorded in {}.", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut machine = parts.start(&boot)?;
    println!("Ctrl-A x ends the machine.");
    let terminal = machine.console().attach_terminal()?;
    let end = machine.wait(None, None)?;
    drop(terminal);
    println!("\n{end}");
    if boot.on_monitor {
        println!("monitor: {}", counted(&machine)?);
    }
    Ok(match end {
        End::Off | End::Left => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What the monitor has counted, apart from what it has not.
///
/// # Errors
///
/// If the monitor has not started.
pub(crate) fn counted(machine: &Machine) -> Result<String> {
    let counters = machine.mailbox()?.counters()?;
    let texts: Vec<_> = counters
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(counter, count)| format!("{} {count}", counter.name()))
        .collect();
    Ok(if texts.is_empty() {
        "nothing happened".to_owned()
    } else {
        texts.join(", ")
    })
}

/// Installs what is missing.
///
/// # Errors
///
/// If that is not possible.
pub(crate) fn provide(workspace: &Workspace, install: Install) -> Result<()> {
    let needs = needs();
    let toolbox = tools::provide(&needs, workspace, install)?;
    let lack = |tool: &Tool| Some((tool.clone(), toolbox.lack_of(tool)?.clone()));
    if let Some((tool, Lack::Unreachable(why) | Lack::Failed(why))) = needs.iter().find_map(lack) {
        bail!("this needs {tool}: {why}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_follows_is_the_kernels_command_line() {
        let line = [
            "", "--acpi", "--smp", "2", "--", "quiet", "--", "/bin/ras", "load",
        ];
        let boot = Line::parse_from(line).options.boot();
        assert_eq!(boot.command_line, "quiet -- /bin/ras load");
        assert!(boot.acpi && boot.on_monitor);
        assert_eq!(boot.cpus, 2);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        for bad in [
            "",
            "G",
            "1",
            "1T",
            "1.5G",
            "-1G",
            "99999999999999999999G",
            "1é",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
