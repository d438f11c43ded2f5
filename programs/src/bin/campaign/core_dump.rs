//! A core dump of a process one of whose pages fails while it is dumped.

use std::fs;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use programs::case::{Observation, Outcome};
use programs::page::SIZE;

use crate::arena::{Arena, Kind, content, is_isolated};
use crate::process::fork;
use crate::scenario::{Case, Lacking, checked, micros_since};

/// Where the kernel is told how to name core dumps.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// The core has everything but the page that failed, which is a hole.
pub(crate) fn run(case: &Case) -> Result<Observation> {
    let folder = std::env::temp_dir();
    let name = folder.join("campaign-core");
    let before = fs::read_to_string(PATTERN)
        .map_err(|error| Lacking(format!("cannot read {PATTERN}: {error}")))?;
    fs::write(PATTERN, name.display().to_string()).context("cannot name core dumps")?;
    let result = dump(case, &name);
    fs::write(PATTERN, before).context("cannot give core dumps their old name")?;
    result
}

fn dump(case: &Case, name: &Path) -> Result<Observation> {
    let arena = Arena::new(Kind::Private, case.seed)?;
    let physical = arena.target()?.physical()?;
    let (resume, mut go) = io::pipe()?;
    let child = fork(|_| {
        let limit = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
        let mut resume = resume;
        let _ = resume.read(&mut [0]);
        // SAFETY: ends this process, which is wanted.
        unsafe { libc::abort() };
    })?;
    case.poison(physical)?;
    let start = Instant::now();
    go.write_all(&[0])?;
    let status = child.wait()?;
    let micros = micros_since(start);
    ensure!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT,
        "the process did not end by SIGABRT: wait status {status:#x}"
    );
    let path = find(name)?;
    let core = fs::read(&path).context("cannot read the core")?;
    fs::remove_file(&path).context("cannot remove the core")?;
    let page = |number: usize| bytes_at(&core, arena.at(number * SIZE).addr() as u64);
    let mut is_good = libc::WCOREDUMP(status);
    for number in [0, 2] {
        is_good &= page(number)? == content(case.seed, number * SIZE, SIZE);
    }
    let is_hole = page(1)?.iter().all(|&byte| byte == 0);
    Ok(checked(
        Observation {
            micros,
            isolated: is_isolated(physical),
            ..Observation::only(Outcome::Complete)
        },
        is_good && is_hole && arena.neighbours_are_good(),
    ))
}

/// The core: kernels may append the process's number.
fn find(name: &Path) -> Result<PathBuf> {
    let folder = name.parent().context("no folder")?;
    let prefix = name.file_name().unwrap_or_default().to_string_lossy();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&*prefix) {
            return Ok(entry.path());
        }
    }
    bail!("no core was written to {}", folder.display())
}

/// The page at this address, in an ELF core file (System V ABI, chapter 5).
fn bytes_at(core: &[u8], address: u64) -> Result<&[u8]> {
    const LOAD: u64 = 1;
    const HEADER: usize = 56;
    ensure!(
        core.starts_with(b"\x7fELF\x02\x01"),
        "the core is no ELF file"
    );
    let number = |range: Range<usize>| -> Result<u64> {
        let bytes = core.get(range).context("the core is cut off")?;
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(value))
    };
    let (table, count) = (number(32..40)? as usize, number(56..58)? as usize);
    for index in 0..count {
        let at = table + index * HEADER;
        let field = |offset: usize| number(at + offset..at + offset + 8);
        let (start, length) = (field(16)?, field(32)?);
        let is_load = number(at..at + 4)? == LOAD;
        if is_load && (start..start.saturating_add(length)).contains(&address) {
            let from = (field(8)? + (address - start)) as usize;
            return core
                .get(from..from + SIZE)
                .context("the core ends before the page");
        }
    }
    bail!("the core has no memory at {address:#x}")
}
