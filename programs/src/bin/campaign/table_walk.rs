//! A translation table of a process that fails, and that the CPU then walks.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::ptr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use programs::case::{Observation, Outcome};
use programs::page::SIZE;

use crate::arena::{Arena, Kind, is_isolated};
use crate::process::{fork, tell};
use crate::scenario::{Case, Lacking, PATIENCE, checked, micros_since};

/// What one table of the last level spans, in bytes.
const SPAN: usize = 512 * SIZE;

/// Descriptors in a line.
const IN_LINE: usize = 8;

/// A child has such a table made, finds it, has it fail, and walks it.
pub(crate) fn run(case: &Case) -> Result<Observation> {
    let arena = Arena::new(Kind::Private, case.seed)?;
    let mut child = fork(|mut answer| {
        let said = match walk(case, |table| tell(&mut answer, &format!("{table}"))) {
            Ok(()) => "the walk went well".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let _ = tell(&mut answer, &said);
    })?;
    let said = child.line(PATIENCE)?;
    let start = Instant::now();
    let Ok(table) = said.parse::<u64>() else {
        return Err(Lacking(said).into());
    };
    let mut rest = String::new();
    child.output.read_to_string(&mut rest)?;
    let status = child.wait()?;
    if !libc::WIFSIGNALED(status) {
        bail!("the process ended with status {status:#x}: {rest}");
    }
    let seen = Observation {
        signal: Some(libc::WTERMSIG(status)),
        micros: micros_since(start),
        isolated: is_isolated(table),
        ..Observation::only(Outcome::Killed)
    };
    let is_killed = libc::WTERMSIG(status) == libc::SIGKILL;
    Ok(checked(seen, is_killed && arena.is_good(0, 3 * SIZE)))
}

/// Says which table it found, and dies.
fn walk(case: &Case, found: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    let base = reserve(3 * SPAN)?;
    let first = base.wrapping_add(base.align_offset(SPAN));
    // Brings the tables above.
    touch(first);
    let before = tables()?;
    let target = first.wrapping_add(SPAN + case.line as usize * IN_LINE * SIZE);
    touch(target);
    let mut new = tables()?
        .into_iter()
        .filter(|table| !before.contains(table));
    let (Some(table), None) = (new.next(), new.next()) else {
        bail!("cannot tell which table is new");
    };
    case.poison(table * SIZE as u64)?;
    found(table * SIZE as u64)?;
    // Another page of the same line: the CPU has no translation of it.
    touch(target.wrapping_add(SIZE));
    Ok(())
}

fn touch(address: *mut u8) {
    // SAFETY: in the reserved range, which is mapped writable.
    unsafe { ptr::write_volatile(address, 1) };
}

/// Maps so many bytes, in small pages.
fn reserve(length: usize) -> Result<*mut u8> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, wherever there is room.
    let base = unsafe { libc::mmap(ptr::null_mut(), length, rights, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot reserve memory");
    }
    // SAFETY: the range just mapped. Without huge pages there is nothing to switch off.
    unsafe { libc::madvise(base, length, libc::MADV_NOHUGEPAGE) };
    Ok(base.cast())
}

/// The numbers of all frames that are translation tables.
fn tables() -> Result<HashSet<u64>> {
    /// KPF_PGTABLE.
    const TABLE: u64 = 1 << 26;
    let what = "cannot read /proc/kpageflags";
    let flags = File::open("/proc/kpageflags").context(what)?;
    let mut tables = HashSet::new();
    let mut chunk = vec![0; 64 * 1024];
    for range in ram()? {
        let mut frame = range.start;
        while frame < range.end {
            let wanted = ((range.end - frame) as usize * 8).min(chunk.len());
            let length = flags
                .read_at(&mut chunk[..wanted], frame * 8)
                .context(what)?;
            if length == 0 {
                break;
            }
            let (entries, _) = chunk[..length].as_chunks();
            for (number, entry) in (frame..).zip(entries) {
                if u64::from_ne_bytes(*entry) & TABLE != 0 {
                    tables.insert(number);
                }
            }
            frame += entries.len() as u64;
        }
    }
    Ok(tables)
}

/// Ranges of frames, from `/proc/iomem`.
fn ram() -> Result<Vec<std::ops::Range<u64>>> {
    let text = std::fs::read_to_string("/proc/iomem").context("cannot read /proc/iomem")?;
    let mut ranges = Vec::new();
    for line in text.lines().filter(|line| line.ends_with(" : System RAM")) {
        let (range, _) = line.split_once(' ').unwrap_or((line, ""));
        let (start, end) = range
            .split_once('-')
            .context("/proc/iomem makes no sense")?;
        let number = |text| u64::from_str_radix(text, 16).context("/proc/iomem makes no sense");
        ranges.push(number(start)? / SIZE as u64..(number(end)? + 1) / SIZE as u64);
    }
    Ok(ranges)
}
