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
    #[arg(long, conflicts_with_all = ["Run", "seeds"])]
    recorded: bool,
    /// Check the host's side instead: requests, reset, watchdog
    #[arg(long, conflicts_with_all = ["Run", "seeds", "recorded"])]
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[arg(long, global = true)]
        no_install: bool,
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, clap::Error> {
        let line = Line::try_parse_from([""].into_iter().chain(line.split_whitespace()))?;
        assert!(!line.no_install || line.options.host);
        Ok(line.options)
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        assert!(parse("--host --no-install").unwrap().host);
        for line in [
            "--host --cpu max",
            "--host --recorded",
            "--recorded --seed 1",
            "--host --mte",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn each_seed_is_a_run() {
        let seeds = |line| -> Vec<u64> {
            let runs = parse(line).unwrap().runs();
            runs.iter().map(|run| run.seed).collect()
        };
        assert_eq!(seeds("--seed 7 --seed 0x10 --smp 2"), [7, 16]);
        assert_eq!(seeds(""), [1]);
    }
}
