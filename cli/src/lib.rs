//! The host command `seaworthy`, run as `cargo seaworthy`.
//!
//! - `test` runs the suites and counts what passed, failed and was skipped.
//! - `doctor` names what is missing on this machine.
//! - `bench` measures Seaworthy's routines beside their rivals.
//! - `campaign` makes memory fail in every way, line by line, and judges what comes of it.
//! - `check-monitor` runs the monitor's acceptance guest.
//! - `inject` poisons the memory of a machine that runs.
//! - `run` boots our kernel.
//! - `linux` boots a stock Linux on the monitor; `check-linux` tests what it makes of errors.
//! - `machine` runs machines in QEMU, with the monitor under their guests.
//! - `mutants` takes safety measures out of the memory manager: a test must notice each.
//! - `sim` runs random programs on the memory manager, in simulation.
//! - `soak` has memory fail at random under our kernel and many programs.
//! - `tools` knows what these need, how to look for it and how to install it.
#![forbid(unsafe_code)]

mod bench;
mod campaign;
mod check_monitor;
mod command;
mod doctor;
mod inject;
mod ktap;
mod linux;
mod machine;
mod mutants;
mod run;
mod sim;
mod soak;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::Benchmark;
use crate::test::Suite;
use crate::tools::Install;
use crate::workspace::Workspace;

/// Tests, measures and diagnoses Seaworthy.
#[derive(Parser)]
#[command(bin_name = "cargo seaworthy", version)]
struct Arguments {
    /// Install nothing: if something is missing, stop and say how to install it
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the tests, after installing what they need
    ///
    /// The last line counts what passed, failed and was skipped. The exit status is 0 only if
    /// nothing failed.
    Test {
        /// Suites to run, in this order [default: all]
        suites: Vec<Suite>,
    },
    /// Name everything that is missing on this machine, with the command that installs it
    Doctor,
    /// Measure Seaworthy beside its rivals
    #[command(subcommand)]
    Bench(Benchmark),
    /// Poison the memory of a running machine, without its guest's help
    Inject(inject::Options),
    /// Make memory fail in every way, line by line, and print a table of what came of it
    Campaign(campaign::Options),
    /// Check the monitor: run its acceptance guest and print the results as KTAP
    CheckMonitor(check_monitor::Options),
    /// Boot our kernel, with its console on this terminal
    Run(run::Options),
    /// Boot a stock Linux on the monitor, with its console on this terminal
    Linux(linux::Options),
    /// Check what a stock Linux on the monitor makes of memory errors, and print it as KTAP
    CheckLinux(linux::check::Options),
    /// Take safety measures out of the memory manager, one at a time: a test must notice each
    Mutants(mutants::Options),
    /// Have memory fail at random under many programs at once, on our kernel
    Soak(soak::Options),
    /// Run random programs on the memory manager, whose simulated memory fails
    Sim(sim::Options),
}

/// Runs the command line of this process.
///
/// The exit status is 0 if all that was asked for succeeded, 1 if not, 2 if the arguments make
/// no sense.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let install = if arguments.no_install {
        Install::Never
    } else {
        Install::IfPermitted
    };
    let result = command::end_children_with_us(machine::remove_all)
        .and_then(|()| perform(arguments.task, install));
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform(task: Task, install: Install) -> Result<ExitCode> {
    match task {
        Task::Test { suites } => test::run(&suites, &Workspace::find()?, install),
        Task::Doctor => doctor::run(&Workspace::find()?),
        Task::Bench(benchmark) => bench::run(&benchmark, &Workspace::find()?, install),
        Task::Inject(options) => inject::run(&options),
        Task::Campaign(options) => campaign::run(&options, &Workspace::find()?, install),
        Task::CheckMonitor(options) => check_monitor::run(&options, &Workspace::find()?, install),
        Task::Run(options) => run::run(&options, &Workspace::find()?, install),
        Task::Linux(options) => linux::run(options, &Workspace::find()?, install),
        Task::Mutants(options) => mutants::run(&options, &Workspace::find()?),
        Task::Soak(options) => soak::run(&options, &Workspace::find()?, install),
        Task::Sim(options) => sim::run(&options),
        Task::CheckLinux(options) => linux::check::run(&options, &Workspace::find()?, install),
    }
}
