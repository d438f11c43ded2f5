//! `campaign`: makes memory fail, line by line, in every way that a system can meet it.
//!
//! Uses Linux's interfaces only, and needs root. Prints KTAP, and for each case two comments: `begin`
//! before it, so that whoever reads the console of a kernel that dies knows of what, and its result
//! as a JSON object. With `--serve` it takes its orders from standard input: `SCENARIO LINES SEED`.
#![expect(unsafe_code, reason = "tests access memory that fails")]

mod arena;
mod core_dump;
mod process;
mod scenario;
mod table_walk;
mod two_cpus;

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use programs::case::{Kernel, Observation, Outcome, Scenario, parse_lines};
use programs::inject::Method;
use programs::output::{note, say};
use serde_json::json;

use crate::process::{fork, tell};
use crate::scenario::{Case, Lacking};

/// After this a case hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes memory fail, line by line, in every way that a system can meet it
#[derive(Parser)]
struct Arguments {
    /// What to do [default: everything]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    /// Lines of the page that fail, one after the other: all, or numbers such as 0,5,60-63
    #[arg(long, value_parser = Lines::parse, default_value = "0,17,63")]
    lines: Lines,
    /// Where random contents begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is expected of this kernel
    #[arg(long, default_value = "survives")]
    kernel: Kernel,
    /// Take orders from standard input
    #[arg(long)]
    serve: bool,
    #[command(flatten)]
    means: Means,
}

/// Lines of a page, in the order in which they fail.
// Clap takes a bare `Vec` for an option that is repeated.
#[derive(Clone)]
struct Lines(Vec<u32>);

impl Lines {
    fn parse(text: &str) -> Result<Self, String> {
        parse_lines(text).map(Self)
    }
}

/// What the tests may use.
#[derive(clap::Args, Clone)]
struct Means {
    /// Who makes the memory fail
    #[arg(long, default_value = "einj")]
    by: Method,
    /// Who asks the monitor for what only it can do
    #[arg(long, default_value = "doorbell")]
    monitor: Method,
    /// A folder on a disk, for scenarios that need one
    #[arg(long, value_name = "FOLDER")]
    disk: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.serve {
        serve(&arguments).map(|()| true)
    } else {
        Ok(run_all(&arguments))
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &Arguments) -> bool {
    let scenarios = match arguments.scenarios.as_slice() {
        [] => Scenario::value_variants(),
        chosen => chosen,
    };
    let order = scenarios
        .iter()
        .flat_map(|&scenario| arguments.lines.0.iter().map(move |&line| (scenario, line)));
    run(order.collect(), arguments.seed, arguments)
}

/// Obeys until the input ends.
fn serve(arguments: &Arguments) -> Result<()> {
    note("ready");
    for order in io::stdin().lock().lines() {
        let order = order.context("cannot read orders")?;
        match parse_order(&order) {
            Ok((scenario, lines, seed)) => {
                let cases = lines.into_iter().map(|line| (scenario, line));
                run(cases.collect(), seed, arguments);
            }
            Err(error) => note(&format!("not an order: {order:?}: {error}")),
        }
        note("ready");
    }
    Ok(())
}

fn parse_order(order: &str) -> Result<(Scenario, Vec<u32>, u64), String> {
    let mut words = order.split_whitespace();
    let mut word = |what: &str| words.next().ok_or_else(|| format!("it has no {what}"));
    let scenario = Scenario::from_str(word("scenario")?, false)?;
    let lines = parse_lines(word("lines")?)?;
    let seed = word("seed")?.parse().map_err(|_| "its seed is no number")?;
    Ok((scenario, lines, seed))
}

/// Whether all went as expected.
fn run(cases: Vec<(Scenario, u32)>, seed: u64, arguments: &Arguments) -> bool {
    say("KTAP version 1");
    say(&format!("1..{}", cases.len()));
    let mut all_passed = true;
    for (number, (scenario, line)) in (1..).zip(cases) {
        note(&format!("begin {} {line}", scenario.name()));
        let case = Case {
            scenario,
            line,
            seed: seed ^ u64::from(line) << 32,
            by: arguments.means.by,
            monitor: arguments.means.monitor,
            disk: arguments.means.disk.clone(),
        };
        let seen = in_a_child(&case).unwrap_or_else(|error| {
            Observation::with_detail(Outcome::Failed, format!("{error:#}"))
        });
        note(&json!({ "scenario": scenario, "line": line, "seen": seen }).to_string());
        let expected = scenario.expected(line, arguments.kernel);
        let name = format!("{number} {} line {line}", scenario.name());
        if seen.outcome == Outcome::Skipped {
            say(&format!(
                "ok {name} # SKIP {}",
                seen.detail.unwrap_or_default()
            ));
        } else if expected.is_met_by(&seen) {
            say(&format!("ok {name}"));
        } else {
            all_passed = false;
            note(&format!("expected {expected}, seen {seen}"));
            say(&format!("not ok {name}"));
        }
    }
    all_passed
}

/// Runs the case in a process that may die of it.
fn in_a_child(case: &Case) -> Result<Observation> {
    let mut child = fork(|mut answer| {
        let _ = tell(&mut answer, &as_json(case.run()));
    })?;
    let Some(answer) = child.listen(LIMIT)? else {
        return Ok(Observation::only(Outcome::Hang));
    };
    let status = child.wait()?;
    if answer.is_empty() && libc::WIFSIGNALED(status) {
        return Ok(Observation {
            signal: Some(libc::WTERMSIG(status)),
            ..Observation::only(Outcome::Killed)
        });
    }
    serde_json::from_str(&answer)
        .with_context(|| format!("the case's process ended with status {status:#x}: {answer:?}"))
}

/// What a case's process tells its parent.
fn as_json(result: Result<Observation>) -> String {
    let seen = result.unwrap_or_else(|error| {
        let outcome = if error.is::<Lacking>() {
            Outcome::Skipped
        } else {
            Outcome::Failed
        };
        Observation::with_detail(outcome, format!("{error:#}"))
    });
    serde_json::to_string(&seen).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_scenario_lines_and_seed() {
        let order = parse_order("copy-on-write 0,7 12");
        assert_eq!(order, Ok((Scenario::CopyOnWrite, vec![0, 7], 12)));
        for bad in ["", "load", "load 0", "load 0 x", "nothing 0 1", "load 64 1"] {
            assert!(parse_order(bad).is_err(), "{bad}");
        }
    }
}
