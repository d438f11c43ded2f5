//! `cargo seaworthy soak`: memory fails at random, under many programs at once, on our kernel.
//!
//! A campaign has memory fail in one place at a time, for one reader. Here processes compute, fork,
//! read, write and map all at once, on several CPUs, while lines of their memory and of their files
//! fail. The guest runs `programs`' `soak`, which checks every byte and prints KTAP.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::campaign::disk::Disk;
use crate::linux::disk::of_ours;
use crate::linux::{PROCESSORS, provide};
use crate::machine::{self, End, Machine, Output, monitor};
use crate::run::{Kernel, processor};
use crate::tools::Install;
use crate::workspace::Workspace;

/// Time to boot and end, on a busy machine.
const MARGIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// Seeds, one after the other; can be given several times
    #[arg(long = "seed", value_name = "N", default_values_t = [1])]
    seeds: Vec<u64>,
    /// How long each seed runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// How many processes work at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    workers: u64,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs the kernel sees
    #[arg(long, value_name = "N", default_value_t = 4)]
    smp: usize,
}

/// Runs the seeds. Fails if a byte was wrong and nobody had been told, or the kernel died.
///
/// # Errors
///
/// If something cannot be built or started.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    provide(workspace, install)?;
    let kernel = Kernel::build(workspace)?;
    let name = format!("soak-{}", std::process::id());
    let files = kernel.files(&name, &of_ours(workspace, "soak")?)?;
    let disk = Disk::new(&name, kernel.folder());
    disk.renew()?;
    let seeds: Vec<_> = options.seeds.iter().map(u64::to_string).collect();
    let mut machine = Machine::start(&machine::Options {
        processor: processor(&options.cpu),
        guest_cpus: options.smp,
        monitor: Some(monitor::build(workspace)?),
        command_line: format!(
            "loglevel=1 seaworthy.disk=/dev/vda -- /bin/soak --disk /mnt --workers {} --seconds {} \
             --seed {}",
            options.workers,
            options.seconds,
            seeds.join(" --seed "),
        ),
        disks: vec![disk.path().to_owned()],
        output: Output::Shown,
        ..machine::Options::new(&name, files.guest())
    })?;
    // A seed whose processes meet much takes longer than it is told to.
    let limit = Duration::from_secs(2 * options.seconds * seeds.len() as u64) + MARGIN;
    let end = machine.wait(Some(limit), None)?;
    let said = machine.console().text();
    for line in kernel.name_calls(&said)? {
        println!("{line}");
    }
    let good = said.lines().filter(|line| line.starts_with("ok ")).count();
    if good == seeds.len() && matches!(end, End::Off) {
        return Ok(ExitCode::SUCCESS);
    }
    println!("# {end}");
    Ok(ExitCode::FAILURE)
}
