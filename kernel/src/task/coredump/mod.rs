//! Core dumps: what is left of a process that a signal ends.
//!
//! | module | what it has |
//! |---|---|
//! | `pattern` | how the file is called: `core_pattern` |
//! | `snapshot` | the threads, as they were |
//! | `notes` | what the file says of process and threads |
//! | `image` | the file: headers, notes, and memory with holes |
//!
//! The thread that the signal hit writes the file, while the others wait until the process ends.
//! Memory that cannot be read becomes a hole, and the dump goes on.

mod image;
mod notes;
pub mod pattern;
mod snapshot;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::general::RLIMIT_CORE;

use self::image::Target;
pub use self::snapshot::Snapshot;
use crate::arch::Registers;
use crate::error::{Errno, Result};
use crate::fs::{FileType, OpenFile, OpenFlags};
use crate::task::exit::{Ending, alarm_threads};
use crate::task::signal::Info;
use crate::task::{Current, Process, Thread};

/// A file that must be shorter is not written.
const LEAST: u64 = mm::PAGE_SIZE as u64;

/// Rights of the file.
const PERMISSIONS: u16 = 0o600;

/// Writes a core file of the running thread's process, which `info` ends, if there is to be one.
/// Returns whether it was begun.
#[inline(never)]
pub(in crate::task) fn dump(thread: &Current, info: &Info, registers: &Registers) -> bool {
    let process = &thread.process;
    let limit = process.limits.lock().get(RLIMIT_CORE);
    let limit = limit.map_or(0, |limit| limit.current);
    if limit < LEAST || !process.dumpable.load(Ordering::Relaxed) {
        return false;
    }
    let name = pattern::name(thread, info.signal, limit);
    if name.is_empty() || !stop_others(thread, registers) {
        return false;
    }
    let written = open(process, &name).and_then(|file| {
        let mut target = Target::new(&file, limit);
        image::write(process, &snapshots(thread), info, &mut target)
    });
    match written {
        Ok(()) => true,
        Err(error) => {
            log::warn!(
                "Core dump to {} failed: {error:?}",
                String::from_utf8_lossy(&name)
            );
            false
        }
    }
}

/// Lets another thread write about this one. Returns when the process ends.
#[inline(never)]
pub(in crate::task) fn park(thread: &Thread, registers: &Registers) {
    let process = &thread.process;
    *thread.snapshot.lock() = Some(Box::new(Snapshot::of_running(thread, registers)));
    process.departures.wake_all();
    process
        .departures
        .wait_until(|| is_killed(process).then_some(()));
}

/// Makes the other threads park. Returns whether the process still is to be dumped.
fn stop_others(thread: &Current, registers: &Registers) -> bool {
    let process = &thread.process;
    {
        let mut signals = process.signals.lock();
        if signals.ending.is_some() {
            return false;
        }
        signals.ending = Some(Ending::Dump(thread.id()));
    }
    *thread.snapshot.lock() = Some(Box::new(Snapshot::of_running(thread, registers)));
    alarm_threads(process);
    process.departures.wait_until(|| {
        let threads = process.threads.lock().clone();
        let parked = threads
            .iter()
            .all(|thread| thread.snapshot.lock().is_some());
        (parked || is_killed(process)).then_some(())
    });
    !is_killed(process)
}

/// Whether something ends the process that does not wait for a dump.
fn is_killed(process: &Process) -> bool {
    matches!(process.signals.lock().ending, Some(Ending::Process(_)))
}

/// All threads, the running one first.
#[expect(clippy::vec_box, reason = "they are boxed already")]
fn snapshots(thread: &Current) -> Vec<Box<Snapshot>> {
    let mut threads = thread.process.threads.lock().clone();
    threads.sort_by_key(|other| (other.id() != thread.id(), other.id()));
    let taken = threads.iter().map(|thread| thread.snapshot.lock().take());
    taken.flatten().collect()
}

fn open(process: &Process, name: &[u8]) -> Result<Arc<OpenFile>> {
    let flags =
        OpenFlags::WRITE_ONLY | OpenFlags::CREATE | OpenFlags::NO_FOLLOW | OpenFlags::NON_BLOCKING;
    let file = process.context.open(None, name, flags, PERMISSIONS)?;
    // A device or a pipe with this name is nobody's dump.
    if file.inode().kind() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    file.inode().truncate(0)?;
    Ok(file)
}
