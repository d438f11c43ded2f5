//! `cargo seaworthy check-monitor`: runs the acceptance guest on the monitor, or checks what the
//! host does with it. Prints KTAP.

mod guest;
mod host;
mod seeds;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use self::guest::Run;
use crate::inject::number;
use crate::machine::monitor;
use crate::tools::{self, Install};
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    run: Run,
    /// Seed of the random accesses; may be given more than once [default: 1]
    #[arg(long = "seed", value_name = "NUMBER", value_parser = number)]
    seeds: Vec<u64>,
    /// Replay the recorded runs, each with its own options
    #[arg(long, exclusive = true)]
    recorded: bool,
    /// Check the host's side instead: requests, reset, watchdog
    #[arg(long, exclusive = true)]
    host: bool,
}

/// Runs what is asked for. The exit status is 0 only if nothing failed.
///
/// # Errors
///
/// If something is missing, or a machine cannot be started.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    let needs = monitor::needs();
    let toolbox = tools::provide(&needs, workspace, install)?;
    for tool in &needs {
        if let Some(lack) = toolbox.lack_of(tool) {
            bail!("needs {tool}: {lack}");
        }
    }
    let monitor = monitor::build(workspace)?;
    let passed = if options.host {
        host::check(&monitor)?
    } else {
        let guest = monitor::build_package("seaworthy-guest", workspace)?;
        let runs = if options.recorded {
            seeds::recorded(workspace)?
        } else {
            options.runs()
        };
        let mut passed = true;
        for run in runs {
            passed &= run.check(&monitor, &guest)?;
        }
        passed
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Options {
    /// One run for each seed.
    fn runs(&self) -> Vec<Run> {
        let seeds = match &*self.seeds {
            [] => &[1],
            seeds => seeds,
        };
        seeds
            .iter()
            .map(|&seed| Run {
                seed,
                ..self.run.clone()
            })
            .collect()
    }
}
