//! `cargo seaworthy bench kernel`: what paths of our kernel cost, beside those of Debian's Linux.
//!
//! Both run the program `kernel-bench` in QEMU with `-icount`: one CPU, a nanosecond for each
//! instruction. So the numbers are instructions, and do not depend on what else the host does. They
//! know nothing of caches, barriers and TLB misses.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::linux::{Boot, PROCESSORS, Parts, disk, provide};
use crate::machine::{self, End, Machine};
use crate::run::{Kernel, processor};
use crate::tools::Install;
use crate::workspace::Workspace;

/// Time for a boot and all measurements, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What is behind the kernel's command line.
const PROGRAM: &str = "loglevel=1 -- /bin/kernel-bench";

#[derive(Args)]
pub(crate) struct Options {
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// Leave Linux out
    #[arg(long)]
    without_linux: bool,
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// An operation, and its instructions.
type Cost = (String, f64);

/// Measures and prints.
///
/// # Errors
///
/// If something cannot be built or started, or a kernel does not finish.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    provide(workspace, install)?;
    let ours = measure(start_ours(options, workspace)?)?;
    let linux = if options.without_linux {
        Vec::new()
    } else {
        measure(start_linux(options, workspace)?)?
    };
    print!("{}", table(&ours, &linux));
    if let Some(path) = &options.json {
        fs::write(path, as_json(&options.cpu, &ours, &linux).to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn start_ours(options: &Options, workspace: &Workspace) -> Result<Machine> {
    let kernel = Kernel::build(workspace)?;
    let name = format!("bench-{}", std::process::id());
    let files = kernel.files(&name, &disk::of_shell(workspace)?)?;
    // QEMU has read the files when this returns.
    Machine::start(&machine::Options {
        processor: processor(&options.cpu),
        guest_cpus: 1,
        memory: 1 << 30,
        counts_instructions: true,
        command_line: PROGRAM.to_owned(),
        ..machine::Options::new(&name, files.guest())
    })
}

fn start_linux(options: &Options, workspace: &Workspace) -> Result<Machine> {
    Parts::prepare(None, None, workspace)?.start(&Boot {
        on_monitor: false,
        processor: options.cpu.clone(),
        counts_instructions: true,
        command_line: PROGRAM.to_owned(),
        ..Boot::new(&format!("bench-{}", std::process::id()))
    })
}

/// What the program says, when it is done.
fn measure(mut machine: Machine) -> Result<Vec<Cost>> {
    let end = machine.wait(Some(LIMIT), None)?;
    let text = machine.console().text();
    ensure!(
        matches!(end, End::Off),
        "the guest does not finish: {end}\n{}",
        machine.console().last_lines(20).join("\n")
    );
    let costs: Vec<_> = text.lines().filter_map(parse).collect();
    if costs.is_empty() {
        bail!(
            "the guest says nothing:\n{}",
            machine.console().last_lines(20).join("\n")
        );
    }
    Ok(costs)
}

/// `# bench NAME: NUMBER`.
fn parse(line: &str) -> Option<Cost> {
    let (name, number) = line.trim().strip_prefix("# bench ")?.rsplit_once(": ")?;
    Some((name.to_owned(), number.parse().ok()?))
}

fn other(costs: &[Cost], name: &str) -> Option<f64> {
    let found = costs.iter().find(|(other, _)| other == name);
    found.map(|(_, cost)| *cost)
}

fn table(ours: &[Cost], linux: &[Cost]) -> String {
    let mut text = format!(
        "{:<36}{:>12}{:>12}{:>8}\n",
        "instructions", "seaworthy", "linux", "ratio"
    );
    for (name, cost) in ours {
        text += &match other(linux, name) {
            Some(other) => format!("{name:<36}{cost:>12.0}{other:>12.0}{:>8.2}\n", cost / other),
            None => format!("{name:<36}{cost:>12.0}{:>12}{:>8}\n", "-", "-"),
        };
    }
    text
}

fn as_json(cpu: &str, ours: &[Cost], linux: &[Cost]) -> Value {
    let rows: Vec<_> = ours
        .iter()
        .map(|(name, cost)| json!({ "path": name, "seaworthy": cost, "linux": other(linux, name) }))
        .collect();
    json!({ "cpu": cpu, "instructions": rows })
}

#[cfg(test)]
mod tests {
    use super::{parse, table};

    #[test]
    fn costs_are_found_and_compared() {
        let ours = [
            "# bench getpid: 200\r",
            "# bench pipe, 1 byte: 3",
            "init: end",
        ];
        let ours: Vec<_> = ours.iter().filter_map(|line| parse(line)).collect();
        let linux = vec![("getpid".to_owned(), 400.0)];
        assert_eq!(ours.len(), 2);
        let table = table(&ours, &linux);
        let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["getpid", "200", "400", "0.50"]);
        assert!(table.lines().nth(2).unwrap().ends_with('-'));
    }
}
