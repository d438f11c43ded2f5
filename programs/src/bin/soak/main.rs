//! Many processes at once whose memory and files fail at random, while they compute, fork, read,
//! write and map: each byte must be as it was written, or its owner must have been told.
//!
//! Runs on our kernel on the monitor, as root. Prints KTAP, a test for each seed.

mod arena;
mod counts;
mod store;
mod worker;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use programs::inject::Method;
use programs::output::{note, test_seeds};
use programs::shared::Shared;

use self::counts::{Count, Counts};
use self::worker::Worker;

/// Has memory fail under work.
#[derive(Parser)]
struct Arguments {
    /// Seeds, one after the other
    #[arg(long = "seed", default_values_t = [1])]
    seeds: Vec<u64>,
    /// How long each seed runs
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many processes work at once
    #[arg(long, default_value_t = 4)]
    workers: u64,
    /// A directory on a disk, for files that can be read again
    #[arg(long)]
    disk: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    Ok(test_seeds("work", &arguments.seeds, |seed| {
        run(seed, &arguments)
    }))
}

fn run(seed: u64, arguments: &Arguments) -> Result<String> {
    let counts = Counts::shared()?;
    // Opened here, so that what is lacking is said once.
    let injector = Method::Einj.open()?;
    let before = corrupted()?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut processes = Vec::new();
    for number in 0..arguments.workers {
        // SAFETY: this process has one thread.
        #[expect(unsafe_code, reason = "std has no fork")]
        let process = unsafe { libc::fork() };
        match process {
            0 => {
                let work = Worker::new(seed, number, arguments.disk.as_deref(), &injector, counts)
                    .and_then(|mut worker| worker.work_until(end));
                if let Err(error) = &work {
                    note(&format!("seed {seed} worker {number}: {error:#}"));
                }
                std::process::exit(i32::from(work.is_err()));
            }
            -1 => return Err(io::Error::last_os_error()).context("cannot fork"),
            process => processes.push(process),
        }
    }
    let ends: Vec<_> = processes.into_iter().map(worker::wait).collect();
    for end in ends {
        let status = end?;
        ensure!(status == 0, "a worker ended with wait status {status:#x}");
    }
    let lost = corrupted()?.saturating_sub(before);
    ensure!(
        counts.get(Count::Poisoned) > 0 && counts.get(Count::Told) > 0,
        "nothing failed: {counts}"
    );
    ensure!(lost > 0, "no page was isolated: {counts}");
    Ok(format!("{counts}, {lost} KiB isolated"))
}

/// `HardwareCorrupted`, in KiB.
fn corrupted() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("HardwareCorrupted:"));
    let Some(number) = line.and_then(|line| line.split_whitespace().next()) else {
        bail!("/proc/meminfo does not say how much memory is corrupted");
    };
    number
        .parse()
        .with_context(|| format!("{number} is no number"))
}

/// A file of nobody else's in a directory.
fn open_file(directory: &std::path::Path, number: u64) -> Result<File> {
    let path = directory.join(format!("soak-{number}"));
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))
}
