//! `copy`: the mc-safe routines beside what a program can use instead.
//!
//! Everything is measured in one run, in turns, and reported as a median of ratios: times depend
//! on the machine and on who else uses it, ratios much less.

#![expect(
    unsafe_code,
    reason = "the routines under test, their rivals and signal handlers work on raw memory"
)]

mod aarch64;
mod contestant;
mod guard;
mod memory;
mod plan;
mod poison;
mod probe;
mod progress;
mod race;
mod recovery;
mod report;
mod rivals;
mod routines;
mod signals;
mod statistics;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::memory::{Alignment, Arena};
use crate::plan::{Event, Wish};
use crate::recovery::Failure;
use crate::report::{JsonFile, Row, Table, Target};

/// Races the mc-safe copy routines against libc and other rivals
#[derive(Parser)]
struct Options {
    /// Also write the results to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer sizes and rounds, and nothing about arm64: under ten seconds
    #[arg(long)]
    quick: bool,
    /// Only these numbers of bytes, e.g. 16,4K,1M
    #[arg(long, value_delimiter = ',', value_parser = parse_bytes)]
    sizes: Vec<usize>,
    /// Only this routine, e.g. memcpy_mc
    #[arg(long, value_name = "NAME")]
    routine: Option<String>,
    /// Only this variant, e.g. avx
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Only one part; with any of the options above but --json, the default is `races`
    #[arg(long)]
    part: Option<Part>,
    #[command(flatten)]
    probe: Probe,
}

/// What the run under an emulator is asked.
#[derive(clap::Args)]
struct Probe {
    /// Print where the code of each contestant starts
    #[arg(long, hide = true)]
    addresses: bool,
    /// Call one contestant once at each place
    #[arg(long, hide = true, requires = "at")]
    call: Option<String>,
    #[arg(long, hide = true, value_delimiter = ',', value_parser = probe::parse_place)]
    at: Vec<(usize, Alignment)>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Copies that succeed, beside their rivals
    Races,
    /// Copies that fail
    Recovery,
    /// The arm64 routines: instruction counts and predictions
    Aarch64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.probe.addresses {
        probe::addresses();
        return Ok(());
    }
    if let Some(name) = &options.probe.call {
        return probe::call(name, &options.probe.at);
    }
    let wish = Wish {
        quick: options.quick,
        sizes: options.sizes,
        routine: options.routine,
        variant: options.variant,
    };
    let parts: &[Part] = match options.part {
        Some(part) => &[part],
        None if wish.is_particular() => &[Part::Races],
        None if wish.quick => &[Part::Races, Part::Recovery],
        None => &[Part::Races, Part::Recovery, Part::Aarch64],
    };
    let events = plan::events(&wish);
    ensure!(!events.is_empty(), "{}", nothing_to_do(&wish));

    let json = options.json.as_deref().map(JsonFile::create).transpose()?;

    let mut rows = Vec::new();
    let mut tables = Vec::new();
    if parts.contains(&Part::Races) {
        let largest = events.iter().flat_map(|event| &event.sizes).max();
        let arena = Arena::new(largest.copied().unwrap_or(0))?;
        for event in &events {
            tables.push(hold(event, &arena, &mut rows)?);
        }
    }
    if parts.contains(&Part::Recovery) {
        for failure in [Failure::PoisonedPage, Failure::TruncatedFile] {
            match recover(failure, wish.quick, &mut rows) {
                Ok(table) => tables.push(table),
                Err(error) => {
                    not_measured(format_args!("recovery from a {}", failure.name()), &error);
                }
            }
        }
    }
    if parts.contains(&Part::Aarch64) {
        match aarch64::examine(&mut rows) {
            Ok(more) => tables.extend(more),
            Err(error) => not_measured(format_args!("arm64"), &error),
        }
    }

    let mut out = std::io::stdout().lock();
    for table in tables {
        writeln!(out, "{table}")?;
    }
    write!(out, "{}", report::summary(&rows))?;
    if let Some(file) = json {
        file.write(&rows)?;
    }
    Ok(())
}

/// Says that a part cannot be had on this machine, which is no failure of the others.
fn not_measured(what: std::fmt::Arguments<'_>, error: &anyhow::Error) {
    progress::note(format_args!("{what}: not measured: {error:#}"));
}

fn nothing_to_do(wish: &Wish) -> String {
    let routines: Vec<&str> = routines::ROUTINES.iter().map(|r| r.name).collect();
    let variants: Vec<&str> = plan::variants().map(|v| v.name()).collect();
    format!(
        "no routine {} in variant {}; on this machine there are the routines {} in the variants {}",
        wish.routine.as_deref().unwrap_or("at all"),
        wish.variant.as_deref().unwrap_or("any"),
        routines.join(", "),
        variants.join(", "),
    )
}

/// Races one routine at all its places.
fn hold(event: &Event, arena: &Arena, rows: &mut Vec<Row>) -> Result<Table> {
    let ours = event.routine.of(event.variant);
    let mut rivals = rivals::of(event.routine.operation);
    rivals.extend(event.routine.plain(event.variant));
    let mut header = vec!["bytes".into(), "placed".into(), "ns".into()];
    header.extend(rivals.iter().map(|rival| rival.name.clone()));
    header.push("target".into());
    let title = format!("{}: its time over that of", ours.name);
    let mut table = Table::new(title, header);
    for (bytes, alignment) in routines::places(event.routine, &event.sizes) {
        progress::show(format_args!(
            "{}, {} bytes",
            ours.name,
            report::bytes(bytes)
        ));
        let place = |round| arena.place(bytes, alignment, round);
        let standing = race::run(event.routine.operation, &ours, &rivals, place, event.effort)?;
        let misaligned = alignment == Alignment::None;
        let mut line = vec![
            report::bytes(bytes),
            alignment.name().into(),
            report::nanoseconds(standing.ns_median),
        ];
        let mut verdict = String::new();
        for (rival, ratio) in rivals.iter().zip(standing.ratio_medians) {
            let row = Row {
                routine: ours.name.clone(),
                rival: rival.name.clone(),
                arch: std::env::consts::ARCH,
                bytes,
                misaligned,
                ratio_median: Some(ratio),
                ns_median: Some(standing.ns_median),
                target: plan::target(event, &rival.name, bytes),
                ..Row::default()
            };
            line.push(report::ratio(ratio));
            verdict += &row.verdict();
            rows.push(row);
        }
        line.push(verdict);
        table.push(line);
    }
    progress::clear();
    Ok(table)
}

/// Measures how the library recovers from one failure.
fn recover(failure: Failure, quick: bool, rows: &mut Vec<Row>) -> Result<Table> {
    const MOST_OVER_FLOOR: f64 = 1.15;
    let memory = seaworthy::install()?;
    let rounds = if quick { 2000 } else { 20_000 };
    let latencies = recovery::measure(memory, failure, rounds)?;
    let header = ["", "p10 ns", "p50 ns", "p99 ns", "ours over it", "target"];
    let mut table = Table::new(
        format!(
            "{}: recovery of memcpy_mc/{} at the first of {} bytes",
            failure.name(),
            memory.variant(),
            recovery::BYTES,
        ),
        header.map(String::from).to_vec(),
    );
    let ours = &latencies[0];
    for latency in &latencies {
        let concerned = latency.name == failure.floor();
        let row = Row {
            routine: format!("memcpy_mc/{}, {}", memory.variant(), failure.name()),
            rival: latency.name.to_owned(),
            arch: std::env::consts::ARCH,
            bytes: recovery::BYTES,
            ratio_median: Some(latency.ratio_median),
            ns_median: Some(ours.p50),
            ns_p10: Some(ours.p10),
            ns_p99: Some(ours.p99),
            target: concerned.then_some(Target::AtMost(MOST_OVER_FLOOR)),
            ..Row::default()
        };
        table.push(vec![
            latency.name.to_owned(),
            report::nanoseconds(latency.p10),
            report::nanoseconds(latency.p50),
            report::nanoseconds(latency.p99),
            report::ratio(latency.ratio_median),
            row.verdict(),
        ]);
        if latency.name != ours.name {
            rows.push(row);
        }
    }
    Ok(table)
}

/// Reads `64`, `4K`, `1M`.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'K' | 'k')) => (&text[..end], 10),
        Some((end, 'M' | 'm')) => (&text[..end], 20),
        _ => (text, 0),
    };
    let most = 1_usize << 30;
    digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(1 << shift))
        .filter(|bytes| (1..=most).contains(bytes))
        .ok_or_else(|| "a number of bytes from 1 to 1024M, such as 64, 4K or 1M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_bytes("64"), Ok(64));
        assert_eq!(parse_bytes("4K"), Ok(4096));
        assert_eq!(parse_bytes("1m"), Ok(1 << 20));
        for wrong in [
            "",
            "0",
            "K",
            "-1",
            "1.5K",
            "2000M",
            "99999999999999999999M",
            "4Kä",
        ] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
