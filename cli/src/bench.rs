//! `cargo seaworthy bench`: runs the programs of the package `seaworthy-benches`, and boots kernels.

mod kernel;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::command::Command;
use crate::linux;
use crate::tools::Install;
use crate::workspace::Workspace;

#[derive(Subcommand)]
pub(crate) enum Benchmark {
    /// The copy routines beside memcpy and their rivals
    Copy(Options),
    /// What operations of the memory manager cost, and how that grows
    Mm(Options),
    /// Instructions on our kernel's paths, beside those of a stock Linux
    Kernel(kernel::Options),
    /// How long a stock Linux takes to boot, with and without the monitor
    Linux(linux::bench::Options),
}

#[derive(Args)]
pub(crate) struct Options {
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed on to the benchmark
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs a benchmark.
///
/// # Errors
///
/// If it cannot be run.
pub(crate) fn run(
    benchmark: &Benchmark,
    workspace: &Workspace,
    install: Install,
) -> Result<ExitCode> {
    match benchmark {
        Benchmark::Copy(options) => hand_over("copy", options, workspace),
        Benchmark::Mm(options) => hand_over("mm", options, workspace),
        Benchmark::Kernel(options) => kernel::run(options, workspace, install),
        Benchmark::Linux(options) => linux::bench::run(options, workspace, install),
    }
}

/// Builds the benchmark with optimisation and runs it. Its exit status is ours.
fn hand_over(name: &str, options: &Options, workspace: &Workspace) -> Result<ExitCode> {
    let command = cargo_run(name, options, workspace);
    println!("$ {command}");
    let status = command.hand_over()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The benchmark runs where the user is, because file names in its arguments may be relative.
fn cargo_run(name: &str, options: &Options, workspace: &Workspace) -> Command {
    let manifest = workspace.root.join("Cargo.toml");
    let mut command = Command::new("cargo")
        .args([
            "run",
            "--release",
            "--package",
            "seaworthy-benches",
            "--bin",
            name,
        ])
        .args([
            "--manifest-path".to_owned(),
            manifest.to_string_lossy().into_owned(),
        ])
        .arg("--");
    if let Some(file) = &options.json {
        command = command.arg("--json").arg(file.to_string_lossy());
    }
    command.args(options.arguments.clone())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        benchmark: Benchmark,
    }

    fn passed_on(line: &[&str]) -> String {
        let Benchmark::Copy(options) = Line::parse_from(line).benchmark else {
            panic!("{line:?} is another benchmark");
        };
        let command = cargo_run("copy", &options, &Workspace::find().unwrap()).to_string();
        command.split_once(" -- ").unwrap().1.to_owned()
    }

    #[test]
    fn arguments_reach_the_benchmark() {
        assert_eq!(
            passed_on(&["", "copy", "--json", "a.json"]),
            "--json a.json"
        );
        assert_eq!(
            passed_on(&["", "copy", "--json", "a.json", "--size", "64"]),
            "--json a.json --size 64"
        );
        assert_eq!(
            passed_on(&["", "copy", "--size", "64", "--json", "a"]),
            "--size 64 --json a"
        );
    }
}
