//! `ras`: meets memory errors on purpose and says what the system makes of them.
//!
//! Prints KTAP: a plan, then `ok` or `not ok` for each test, and what was seen as comments. Needs root.
#![expect(unsafe_code, reason = "tests access memory that fails")]

mod scenario;

use std::process::ExitCode;

use clap::Parser;
use programs::inject::Method;
use programs::output::{note, say};

use crate::scenario::Scenario;

/// Meets memory errors on purpose, one test after the other, and says what became of them
#[derive(Parser)]
struct Arguments {
    /// What to do
    #[arg(required = true)]
    scenarios: Vec<Scenario>,
    #[command(flatten)]
    options: Options,
}

/// How the tests are done.
#[derive(clap::Args)]
struct Options {
    /// Who makes the memory fail
    #[arg(long, default_value = "einj")]
    by: Method,
    /// Where in the page the failing line is, in bytes; a multiple of 64
    #[arg(long, default_value_t = 1024, value_parser = parse_offset)]
    offset: usize,
    /// Expect that no firmware explains the error: BUS_OBJERR instead of BUS_MCEERR_AR
    #[arg(long)]
    unclaimed: bool,
    /// Do not repeat what the kernel's log says: it is on the console anyway
    #[arg(long)]
    no_log: bool,
}

fn parse_offset(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(offset) if offset < programs::page::SIZE && offset % 64 == 0 => Ok(offset),
        _ => Err("must be a multiple of 64 below 4096".to_owned()),
    }
}

fn main() -> ExitCode {
    let Arguments { scenarios, options } = Arguments::parse();
    // To wait for the console would stop a test that runs in the background.
    // SAFETY: no handler is involved.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    say("KTAP version 1");
    say(&format!("1..{}", scenarios.len()));
    let mut has_failed = false;
    for (index, scenario) in scenarios.iter().enumerate() {
        let number = index + 1;
        let name = format!("{} by {}", scenario.name(), options.by.name());
        match scenario.run(&options) {
            Ok(()) => say(&format!("ok {number} {name}")),
            Err(error) => {
                has_failed = true;
                note(&format!("{error:#}"));
                say(&format!("not ok {number} {name}"));
            }
        }
    }
    if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
