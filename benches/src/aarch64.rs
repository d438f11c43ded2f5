//! What can be said of the arm64 routines on any machine: how many instructions they execute,
//! and how fast their loops would be on real CPUs. Times under emulation mean nothing.

mod bulk_loop;
mod count;
mod image;
mod predict;

use std::slice;

use anyhow::{Context, Result};

use crate::memory::Alignment;
use crate::progress;
use crate::report::{self, Row, Table, Target};
use crate::rivals;
use crate::routines::{self, places};
use image::Image;
use predict::{Analyser, CPUS, REFERENCE};

const ARCH: &str = "aarch64";
const SIZES: [usize; 6] = [16, 64, 256, 1 << 10, 4 << 10, 64 << 10];

/// The instructions of these are counted.
const COUNTED: [&str; 4] = ["memcpy_mc", "copy_mc_page", "fill_mc", "compare_mc"];

/// The routines whose loops are analysed.
const PREDICTED: [&str; 2] = ["copy_mc_page", "memcpy_mc"];

/// The copy instructions (FEAT_MOPS) do in three what others do in a thousand, so a count of
/// instructions says nothing about them.
const NOT_COUNTED: &str = "mops";

/// Everything about arm64; what cannot be had here is said on the terminal.
pub(crate) fn examine(rows: &mut Vec<Row>) -> Result<Vec<Table>> {
    progress::show(format_args!("building for arm64"));
    let image = Image::build()?;
    let mut tables = vec![count(&image, rows)?];
    let analysers = Analyser::installed();
    for analyser in &analysers {
        tables.push(predict(&image, analyser, rows)?);
    }
    if analysers.is_empty() {
        progress::note(format_args!(
            "bytes per cycle on {}: not predicted, because there is no llvm-mca that knows them; \
             install LLVM {REFERENCE} (Debian, Ubuntu: `apt install llvm-{REFERENCE}`)",
            CPUS.join(", ")
        ));
    }
    progress::clear();
    Ok(tables)
}

/// The variants of a routine that have code of their own, each with its full name.
fn distinct(image: &Image, routine: &str) -> Vec<String> {
    let mut seen = Vec::new();
    image
        .variants(routine)
        .filter(|&variant| variant != NOT_COUNTED)
        .map(|variant| format!("{routine}/{variant}"))
        .filter(|name| {
            let start = image
                .function(name)
                .map(|function| function.addresses.start);
            let new = !seen.contains(&start);
            seen.push(start);
            new
        })
        .collect()
}

fn count(image: &Image, rows: &mut Vec<Row>) -> Result<Table> {
    let header = ["", "bytes", "placed", "ours", "libc's"];
    let mut table = Table::new(
        format!(
            "arm64: instructions of one call, counted by {}",
            image::EMULATOR
        ),
        header.map(String::from).to_vec(),
    );
    for routine in COUNTED.iter().filter_map(|name| routines::named(name)) {
        let rival = rivals::libc_name(routine.operation);
        let sizes = routine.only.as_ref().map_or(&SIZES[..], slice::from_ref);
        let places: Vec<_> = places(routine, sizes).collect();
        for name in distinct(image, routine.name) {
            progress::show(format_args!("counting the instructions of {name}"));
            let ours = count::instructions(image, &name, &places)?;
            let theirs = count::instructions(image, rival, &places)?;
            for ((&(bytes, alignment), ours), theirs) in places.iter().zip(ours).zip(theirs) {
                table.push(vec![
                    name.clone(),
                    report::bytes(bytes),
                    alignment.name().into(),
                    ours.to_string(),
                    theirs.to_string(),
                ]);
                rows.push(Row {
                    routine: name.clone(),
                    rival: rival.to_owned(),
                    arch: ARCH,
                    bytes,
                    misaligned: alignment == Alignment::None,
                    instructions: Some(ours),
                    rival_instructions: Some(theirs),
                    ..Row::default()
                });
            }
        }
    }
    Ok(table)
}

fn predict(image: &Image, analyser: &Analyser, rows: &mut Vec<Row>) -> Result<Table> {
    let mut header = vec![String::new(), "bytes a turn".into()];
    for cpu in CPUS {
        header.extend([cpu.to_owned(), String::new()]);
    }
    let mut table = Table::new(
        format!(
            "arm64: bytes per cycle of the loop, predicted by llvm-mca of LLVM {}",
            analyser.version
        ),
        header,
    );
    let rival = rivals::LIBC_MEMCPY;
    // The rival first, because the rows of the others tell its rates too.
    let mut rival_rates = Vec::new();
    let names = PREDICTED
        .iter()
        .flat_map(|routine| distinct(image, routine));
    for name in [rival.to_owned()].into_iter().chain(names) {
        let function = image.function(&name);
        let function = function.with_context(|| format!("no code of {name}"))?;
        let Some(found) = bulk_loop::find(&function.words) else {
            progress::note(format_args!(
                "{name}: no prediction, because it has no loop"
            ));
            continue;
        };
        let mut line = vec![name.clone(), found.bytes.to_string()];
        for (index, cpu) in CPUS.into_iter().enumerate() {
            let rate = analyser.bytes_per_cycle(&function.words, &found, cpu)?;
            let row = Row {
                routine: name.clone(),
                rival: rival.to_owned(),
                arch: ARCH,
                bytes: found.bytes,
                bytes_per_cycle: Some(rate),
                rival_bytes_per_cycle: rival_rates.get(index).copied(),
                cpu: Some(cpu),
                llvm: Some(analyser.version),
                target: (analyser.version == REFERENCE)
                    .then(|| target(&name, index))
                    .flatten(),
                ..Row::default()
            };
            line.extend([report::rate(rate), row.verdict()]);
            if name == rival {
                rival_rates.push(rate);
            } else {
                rows.push(row);
            }
        }
        table.push(line);
    }
    Ok(table)
}

/// Bytes per cycle that the loop for a page must reach on the CPU of this index in [`CPUS`].
fn target(name: &str, index: usize) -> Option<Target> {
    match name {
        "copy_mc_page/general" => Some(Target::AtLeast([8.0, 23.9, 15.9, 23.9][index])),
        "copy_mc_page/simd" => Some(Target::Approach([10.6, 31.2, 31.7, 25.3][index])),
        _ => None,
    }
}
