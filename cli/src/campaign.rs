//! `cargo seaworthy campaign`: every scenario, line after line, and whether what came of it is what
//! must.
//!
//! The guest runs `programs`' `campaign`, which takes orders on the console and answers with JSON.
//! A guest that panics is restarted in place and goes on with the next line.
//!
//! | module | what it does |
//! |---|---|
//! | [`disk`] | the disk that it finds |
//! | [`guest`] | what boots, and what is expected of it |
//! | [`driver`] | gives orders and hears answers, or that there will be none |
//! | [`crew`] | deals cases out to guests that run at once |
//! | [`report`] | results as JSON lines and as a table |

mod crew;
pub(crate) mod disk;
mod driver;
mod guest;
mod report;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use programs::case::{LINES, Outcome, Scenario, parse_lines};

use self::guest::{Guest, Recover, Run};
use self::report::{Case, table};
use crate::linux::PROCESSORS;
use crate::tools::Install;
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    /// What boots
    #[arg(long, default_value = "seaworthy")]
    guest: Guest,
    /// Only with the kernel's recovery on, or only with it off [default: what the guest can]
    #[arg(long)]
    recover: Option<Recover>,
    /// Only this scenario; can be given several times [default: all]
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<Scenario>,
    /// Lines of the page that fail: all, or numbers from 0 to 63 such as 0,5,60-63
    #[arg(long, value_parser = Lines::parse, default_value = "0,17,63")]
    lines: Lines,
    /// All lines
    #[arg(long, conflicts_with = "lines")]
    exhaustive: bool,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs the guest sees
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: usize,
    /// How many guests run at once [default: one for each CPU of this machine]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Where the random contents of memory begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a test result in KTAP for each case
    #[arg(long)]
    ktap: bool,
    /// Write one JSON object for each case to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Lines of a page. A type of its own, because clap takes a bare `Vec` for a repeated option.
#[derive(Clone)]
struct Lines(Vec<u32>);

impl Lines {
    fn parse(text: &str) -> Result<Self, String> {
        parse_lines(text).map(Self)
    }
}

/// Runs the cases and prints a table. Fails if one of them ended otherwise than it must.
///
/// # Errors
///
/// If something cannot be built, started or written, or the guest does not boot.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    let scenarios = match options.scenarios.as_slice() {
        [] => Scenario::value_variants(),
        chosen => chosen,
    };
    let all: Vec<_> = (0..LINES).collect();
    let lines = if options.exhaustive {
        &all
    } else {
        &options.lines.0
    };
    ensure!(!lines.is_empty(), "there must be at least one line");
    let mut json = match &options.json {
        Some(file) => {
            Some(File::create(file).with_context(|| format!("cannot write {}", file.display()))?)
        }
        None => None,
    };
    let modes = options.guest.modes();
    let modes: Vec<_> = modes
        .iter()
        .filter(|mode| options.recover.is_none_or(|wanted| wanted == **mode))
        .collect();
    ensure!(
        !modes.is_empty(),
        "this guest cannot do that: it has no recovery"
    );
    let of_each = scenarios.iter().map(|scenario| scenario.lines(lines).len());
    let total = of_each.sum::<usize>() * modes.len();
    let mut progress = Progress::new(total);
    if options.ktap {
        println!("KTAP version 1\n1..{total}");
    }
    let prepare = |mode: &&Recover| {
        let (guest, cpu) = (options.guest, &options.cpu);
        Run::prepare(guest, **mode, cpu, options.smp, workspace, install)
    };
    let runs: Vec<_> = modes.iter().map(prepare).collect::<Result<_>>()?;
    let jobs = options.jobs.or(available_parallelism().ok());
    let jobs = jobs.map_or(1, NonZeroUsize::get);
    let mut cases: Vec<Case> = Vec::new();
    progress.start = Instant::now();
    let boots = crew::run(&runs, scenarios, lines, options.seed, jobs, |case| {
        if let Some(file) = &mut json {
            writeln!(file, "{}", case.as_json()).context("cannot write the results")?;
        }
        progress.advance(&case);
        if options.ktap {
            println!("{}", case.as_ktap(cases.len() + 1));
        }
        cases.push(case);
        Ok(())
    })?;
    progress.end();
    cases.sort_by_key(Case::place);
    print!("{}", table(&cases));
    let seconds = progress.start.elapsed().as_secs_f64();
    println!(
        "{} cases in {seconds:.1} s with {} boots ({:.1} cases a second)",
        cases.len(),
        boots,
        cases.len() as f64 / seconds
    );
    let is_good = cases.iter().all(|case| case.is_good());
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One line on a terminal that says how far it is; mismatches stay, on a terminal or not.
struct Progress {
    start: Instant,
    done: usize,
    total: usize,
    is_shown: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self {
            start: Instant::now(),
            done: 0,
            total,
            is_shown: io::stderr().is_terminal(),
        }
    }

    fn advance(&mut self, case: &Case) {
        self.done += 1;
        if !case.is_good() {
            self.end();
            println!("{case}");
        } else if case.outcome() == Outcome::Skipped && self.is_shown {
            self.end();
        }
        if self.is_shown {
            let (done, total) = (self.done, self.total);
            let left = self.start.elapsed().as_secs_f64() / done as f64 * (total - done) as f64;
            eprint!(
                "\r\x1b[K{done} of {total} cases, about {left:.0} s left: {}",
                case.scenario().name()
            );
            // Without a terminal to show it on there is nothing to do about it.
            let _ = io::stderr().flush();
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}
