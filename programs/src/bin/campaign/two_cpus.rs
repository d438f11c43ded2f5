//! Two CPUs that meet the same error at the same time, in the kernel.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{hint, mem, slice, thread};

use anyhow::{Result, ensure};
use programs::case::{Observation, Outcome};
use programs::page::SIZE;

use crate::arena::{Arena, Kind, content, is_isolated, memory_file};
use crate::scenario::{Case, Lacking, checked, micros_since};

const CPUS: usize = 2;

/// Each writes from the line that fails; none of it is written.
pub(crate) fn run(case: &Case) -> Result<Observation> {
    if thread::available_parallelism()?.get() < CPUS {
        return Err(Lacking("it needs two CPUs".to_owned()).into());
    }
    let arena = Arena::new(Kind::Private, case.seed)?;
    let physical = arena.target()?.physical()?;
    let files = [memory_file(case.seed)?, memory_file(case.seed)?];
    case.poison(physical)?;
    let line = arena.at(SIZE + case.offset()).expose_provenance();
    let there = AtomicUsize::new(0);
    let start = Instant::now();
    let results = thread::scope(|scope| {
        let write = |cpu: usize| {
            let (mut file, there) = (&files[cpu], &there);
            scope.spawn(move || {
                run_on(cpu)?;
                there.fetch_add(1, Ordering::SeqCst);
                while there.load(Ordering::SeqCst) < CPUS {
                    hint::spin_loop();
                }
                let start = std::ptr::with_exposed_provenance(line);
                // SAFETY: in the arena, which stays; only the kernel reads it.
                file.write(unsafe { slice::from_raw_parts(start, 64) })
            })
        };
        [write(0), write(1)].map(|thread| thread.join())
    });
    let micros = micros_since(start);
    let mut errors = Vec::new();
    for result in results {
        let Ok(result) = result else {
            return Ok(Observation::with_detail(Outcome::Failed, "a thread died"));
        };
        errors.push(result.err().and_then(|error| error.raw_os_error()));
    }
    let mut is_good = arena.neighbours_are_good();
    for file in &files {
        is_good &= holds(file, case.seed)?;
    }
    ensure!(
        errors[0] == errors[1],
        "one got {:?}, the other {:?}",
        errors[0],
        errors[1]
    );
    let seen = Observation {
        micros,
        errno: errors[0],
        isolated: is_isolated(physical),
        ..Observation::only(match errors[0] {
            Some(_) => Outcome::Error,
            None => Outcome::Complete,
        })
    };
    Ok(checked(seen, is_good))
}

/// Whether a file holds what it held.
fn holds(file: &File, seed: u64) -> Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 3 * SIZE];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes == content(seed, 0, 3 * SIZE))
}

fn run_on(cpu: usize) -> io::Result<()> {
    // SAFETY: all bits zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the number is below the set's size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is valid and of this size; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
