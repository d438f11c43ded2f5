//! `mm`: what operations of the memory manager cost, and how that grows.
//!
//! The machine under it has no contents, so a copy or a page of zeros costs nothing here. Each
//! number is the least of several rounds: what disturbs only makes it larger.

#![forbid(unsafe_code)]

mod machine;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use mm::{
    Access, AddressSpace, Memory, Outcome, PAGE_SIZE, Placement, Protection, Sharing, Source,
    VirtualAddress,
};
use serde_json::{Value, json};

use crate::machine::Bare;

/// Measures the memory manager
#[derive(Parser)]
struct Options {
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Numbers of pages
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    pages: Vec<u64>,
    /// How often each measurement is repeated
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Where everything is mapped.
const START: u64 = 1 << 32;
/// What one last-level table maps.
const TABLE: u64 = 2 << 20;
const GIBIBYTE: u64 = 1 << 30;
const TEBIBYTE: u64 = 1 << 40;

/// One line of the results.
struct Row {
    what: String,
    /// What grows: pages, areas or gibibytes.
    size: u64,
    nanoseconds_each: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    ensure!(
        options
            .pages
            .iter()
            .all(|pages| (1..=1 << 22).contains(pages)),
        "--pages must be from 1 to 4194304"
    );
    let mut rows = Vec::new();
    for pages in &options.pages {
        for (what, time) in least(options.rounds, || life(*pages))? {
            rows.push(Row::new(format!("{what}, pages"), *pages, *pages, time));
        }
    }
    for areas in [10, 10_000] {
        for (what, time) in least(options.rounds, || many_areas(areas))? {
            rows.push(Row::new(format!("{what}, areas"), areas, TOUCHES, time));
        }
    }
    for length in [TOUCHES * TABLE, TEBIBYTE] {
        for (what, time) in least(options.rounds, || sparse(length))? {
            let what = format!("{what}, sparse GiB");
            rows.push(Row::new(what, length / GIBIBYTE, TOUCHES, time));
        }
    }
    print!("{}", table(&rows));
    if let Some(file) = options.json {
        let rows: Vec<Value> = rows.iter().map(Row::as_json).collect();
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

type Times = Vec<(&'static str, Duration)>;

/// The least of each time over some rounds.
fn least(rounds: u32, measure: impl Fn() -> Result<Times>) -> Result<Times> {
    let mut least = measure()?;
    for _ in 1..rounds {
        for (best, now) in least.iter_mut().zip(measure()?) {
            best.1 = best.1.min(now.1);
        }
    }
    Ok(least)
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}

/// A manager with room for so many pages and their tables.
fn manager(pages: u64) -> Result<Memory<Bare>> {
    let bare = Bare::new(pages as usize);
    let usable = bare.usable();
    Memory::new(bare, &[usable]).map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn map(memory: &Memory<Bare>, space: &AddressSpace, start: u64, length: u64) -> Result<()> {
    let placement = Placement::FixedNoReplace(VirtualAddress(start));
    let mapped = memory.mmap(
        space,
        placement,
        length,
        Protection::READ_WRITE,
        Sharing::Private,
        Source::Anonymous,
    );
    mapped
        .map(|_| ())
        .map_err(|error| anyhow::anyhow!("mmap: {error:?}"))
}

/// Stores to a page in every `step` bytes.
fn touch(memory: &Memory<Bare>, space: &AddressSpace, pages: u64, step: u64) -> Result<()> {
    for page in 0..pages {
        let address = VirtualAddress(START + page * step);
        let outcome = memory.fault(space, address, Access::Store);
        ensure!(outcome == Outcome::Resolved, "fault: {outcome:?}");
    }
    Ok(())
}

/// The life of a process that has so many pages, and of its child.
fn life(pages: u64) -> Result<Times> {
    let memory = manager(2 * pages + pages / 100 + 64)?;
    let failed = |error| anyhow::anyhow!("{error:?}");
    let length = pages * PAGE_SIZE as u64;
    let space = memory.create().map_err(failed)?;
    map(&memory, &space, START, length)?;
    let fault = timed(|| touch(&memory, &space, pages, PAGE_SIZE as u64))?;
    let mut child = None;
    let fork = timed(|| {
        child = Some(memory.fork(&space).map_err(failed)?);
        Ok(())
    })?;
    let child = child.context("the fork made no child")?;
    let copy = timed(|| touch(&memory, &child, pages, PAGE_SIZE as u64))?;
    let unmap = timed(|| {
        let start = VirtualAddress(START);
        memory.munmap(&child, start, length).map_err(failed)
    })?;
    let exit = timed(|| {
        memory.destroy(space);
        Ok(())
    })?;
    memory.destroy(child);
    Ok(vec![
        ("fault", fault),
        ("fork", fork),
        ("copy on write", copy),
        ("munmap", unmap),
        ("exit", exit),
    ])
}

/// How many pages are touched where the number of areas or their size is what grows.
const TOUCHES: u64 = 10_000;

/// Faults in a process whose pages are in so many areas, and calls that find one among them.
fn many_areas(areas: u64) -> Result<Times> {
    let memory = manager(2 * TOUCHES)?;
    let failed = |error| anyhow::anyhow!("{error:?}");
    let space = memory.create().map_err(failed)?;
    let page = PAGE_SIZE as u64;
    let length = TOUCHES / areas * page;
    // A page between any two keeps them apart.
    let start = |area: u64| START + area * (length + page);
    for area in 0..areas {
        map(&memory, &space, start(area), length)?;
    }
    let at = |number: u64| {
        let byte = number * 7919 % TOUCHES * page;
        VirtualAddress(start(byte / length) + byte % length)
    };
    let touch_all = || {
        for number in 0..TOUCHES {
            let outcome = memory.fault(&space, at(number), Access::Store);
            ensure!(outcome == Outcome::Resolved, "fault: {outcome:?}");
        }
        Ok(())
    };
    let fault = timed(touch_all)?;
    // Nothing is left to do but to find the area and the entry.
    let lookup = timed(touch_all)?;
    memory.destroy(space);
    Ok(vec![("fault", fault), ("lookup", lookup)])
}

/// Pages far from each other: each needs a table of its own.
fn sparse(length: u64) -> Result<Times> {
    let memory = manager(3 * TOUCHES)?;
    let space = memory
        .create()
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    map(&memory, &space, START, length)?;
    let step = length / TOUCHES / TABLE * TABLE;
    let fault = timed(|| touch(&memory, &space, TOUCHES, step))?;
    let exit = timed(|| {
        memory.destroy(space);
        Ok(())
    })?;
    Ok(vec![("fault", fault), ("exit", exit)])
}

impl Row {
    fn new(what: String, size: u64, operations: u64, time: Duration) -> Self {
        Self {
            what,
            size,
            nanoseconds_each: time.as_nanos() as f64 / operations as f64,
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "what": self.what,
            "size": self.size,
            "nanoseconds_each": self.nanoseconds_each,
        })
    }
}

/// The rows, each beside the first one of the same name.
fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:30} {:>8} {:>10} {:>14} {:>7}\n",
        "", "size", "ns each", "each second", "growth"
    );
    for row in rows {
        let first = rows.iter().find(|other| other.what == row.what);
        let growth = first.map_or(1.0, |first| row.nanoseconds_each / first.nanoseconds_each);
        text += &format!(
            "{:30} {:>8} {:>10.1} {:>14.0} {:>6.2}x\n",
            row.what,
            row.size,
            row.nanoseconds_each,
            1e9 / row.nanoseconds_each,
            growth
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_measured_succeeds() {
        for times in [life(600), many_areas(10), sparse(TOUCHES * TABLE)] {
            assert!(times.unwrap().iter().all(|time| time.1 > Duration::ZERO));
        }
    }

    #[test]
    fn rows_grow_from_the_first_of_their_name() {
        let row = |what: &str, size, time| {
            Row::new(what.to_owned(), size, size, Duration::from_nanos(time))
        };
        let text = table(&[row("a", 10, 100), row("b", 10, 500), row("a", 20, 800)]);
        let growths: Vec<_> = text.lines().map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(growths, ["growth", "1.00x", "1.00x", "4.00x"].map(Some));
    }
}
