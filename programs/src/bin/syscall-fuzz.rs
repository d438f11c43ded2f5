//! Random system calls with nasty arguments, in children; after each round memory, processes,
//! descriptors and the kernel's log must be as they were.
//!
//! Runs on our kernel and on a stock Linux, as root, on a machine that does nothing else: what is
//! not there when it starts is killed. Prints KTAP, a test for each seed. A seed repeats the calls of
//! each thread; how threads meet is up to the scheduler.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use programs::fuzz::child::Plan;
use programs::fuzz::grammar::CALLS;
use programs::fuzz::health::Health;
use programs::fuzz::record::Record;
use programs::fuzz::round;
use programs::output::{note, test_seeds};
use programs::shared::Shared;
use programs::system_call::is_seaworthy;

/// Rounds in which caches fill, before free memory is looked at.
const WARM_UP: u64 = 5;

/// Makes random system calls.
#[derive(Parser)]
struct Arguments {
    /// Seeds, one after the other
    #[arg(long = "seed", default_values_t = [1])]
    seeds: Vec<u64>,
    /// How long each seed runs
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Begin with this round
    #[arg(long, default_value_t = 0)]
    round: u64,
    /// End after so many rounds
    #[arg(long)]
    rounds: Option<u64>,
    /// Calls that each thread makes in a round
    #[arg(long, default_value_t = 300)]
    calls: u64,
    /// Make only this call, such as `mmap`
    #[arg(long)]
    only: Option<String>,
    /// Say which rounds run
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    Ok(test_seeds("system calls", &arguments.seeds, |seed| {
        run(seed, &arguments)
    }))
}

fn run(seed: u64, arguments: &Arguments) -> Result<String> {
    let record = Record::shared()?;
    let mut health = Health::now()?;
    let only = arguments.only.as_deref().map(number_of).transpose()?;
    let first = arguments.round;
    let last = arguments
        .rounds
        .map_or(u64::MAX, |rounds| first.saturating_add(rounds));
    let start = Instant::now();
    let mut rounds = 0;
    for round in first..last {
        if start.elapsed() > Duration::from_secs(arguments.seconds) {
            break;
        }
        if arguments.verbose {
            note(&format!("seed {seed} round {round}"));
        }
        let plan = Plan {
            seed,
            round,
            child: 0,
            calls: arguments.calls,
            first_unknown: if is_seaworthy()? { 0 } else { 500 },
            only,
        };
        let result = round::run(&plan, record, &mut health);
        if result.is_err() {
            note(&record.last_calls().join("\n"));
        }
        result.with_context(|| format!("seed {seed} round {round}"))?;
        if round == first + WARM_UP {
            health.settle()?;
        }
        rounds += 1;
    }
    let calls = record.calls();
    let total: u64 = calls.iter().sum();
    let rate = total as f64 / start.elapsed().as_secs_f64();
    note(&counts(&calls, &record.errnos()));
    Ok(format!(
        "{total} calls in {rounds} rounds, {rate:.0} per second, {} KiB less free",
        health.lost()?
    ))
}

fn number_of(name: &str) -> Result<i64> {
    let call = CALLS
        .iter()
        .find(|call| call.name.strip_prefix("SYS_") == Some(name));
    Ok(call
        .with_context(|| format!("no call is called {name}"))?
        .number)
}

/// How often what was called, and what came of it.
fn counts(calls: &[u64], errnos: &[u64]) -> String {
    let mut text = "calls:".to_owned();
    let mut unknown = 0;
    for (number, count) in (0..).zip(calls).filter(|(_, count)| **count > 0) {
        let call = CALLS.iter().find(|call| call.number == number);
        match call.and_then(|call| call.name.strip_prefix("SYS_")) {
            Some(name) => text += &format!(" {name} {count}"),
            None => unknown += count,
        }
    }
    text += &format!(" unknown {unknown}\nerrors:");
    for (errno, count) in (0..).zip(errnos).filter(|(_, count)| **count > 0) {
        text += &format!(" {errno} {count}");
    }
    text
}
