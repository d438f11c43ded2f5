//! Who runs where, and how much.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Arguments;
use crate::arch::cpu;
use crate::error::{Errno, Result};
use crate::task::process::{find, find_thread};
use crate::task::{Pid, Thread, current, scheduler};

/// The one policy there is: `SCHED_OTHER`.
const POLICY: i32 = 0;

/// The thread with a number; 0 is the caller.
fn named(id: i32) -> Result<Arc<Thread>> {
    match id {
        0 => Ok(current().share()),
        1.. => find_thread(Pid(id as u32)).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// The same for calls to which a negative number makes no sense.
fn thread(id: i32) -> Result<Arc<Thread>> {
    if id < 0 {
        Err(Errno::EINVAL)
    } else {
        named(id)
    }
}

pub(super) fn sched_yield() -> Result<u64> {
    scheduler::yield_now();
    Ok(0)
}

pub(super) fn sched_setaffinity(a: Arguments) -> Result<u64> {
    let thread = named(a.int(0))?;
    let mut bytes = [0; 8];
    for (index, byte) in bytes.iter_mut().enumerate().take(a.size(1)) {
        [*byte] = a.address(2).offset(index).read()?;
    }
    thread.entity.set_affinity(u64::from_le_bytes(bytes))?;
    scheduler::reschedule();
    Ok(0)
}

pub(super) fn sched_getaffinity(a: Arguments) -> Result<u64> {
    const SIZE: usize = 8;
    if a.size(1) < SIZE || !a.size(1).is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let set = named(a.int(0))?.entity.affinity() & scheduler::online();
    a.address(2).write(&set.to_le_bytes())?;
    Ok(SIZE as u64)
}

pub(super) fn sched_setscheduler(a: Arguments) -> Result<u64> {
    if a.address(2).is_null() || a.int(1) < 0 {
        return Err(Errno::EINVAL);
    }
    thread(a.int(0))?;
    let priority = a.address(2).read_u32()?;
    if a.int(1) == POLICY && priority == 0 {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn sched_getscheduler(a: Arguments) -> Result<u64> {
    thread(a.int(0))?;
    Ok(POLICY as u64)
}

pub(super) fn sched_getparam(a: Arguments) -> Result<u64> {
    if a.address(1).is_null() {
        return Err(Errno::EINVAL);
    }
    thread(a.int(0))?;
    a.address(1).write(&0u32.to_le_bytes()).map(|()| 0)
}

pub(super) fn priority_limit(a: Arguments) -> Result<u64> {
    if a.int(0) == POLICY {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

/// The threads that `setpriority` and `getpriority` are about: only processes can be named.
fn threads(a: Arguments) -> Result<Vec<Arc<Thread>>> {
    const PROCESS: i32 = 0;
    if a.int(0) != PROCESS {
        return Err(Errno::EINVAL);
    }
    let process = match a.int(1) {
        0 => Arc::clone(&current().process),
        pid => find(Pid(pid as u32)).ok_or(Errno::ESRCH)?,
    };
    let threads = process.threads.lock().clone();
    Ok(threads)
}

pub(super) fn setpriority(a: Arguments) -> Result<u64> {
    let nice = a.int(2).clamp(-20, 19) as i8;
    for thread in threads(a)? {
        thread.entity.set_nice(nice);
    }
    Ok(0)
}

/// The call returns 20 less the nice value, so that it is never negative.
pub(super) fn getpriority(a: Arguments) -> Result<u64> {
    let least = threads(a)?.iter().map(|thread| thread.entity.nice()).min();
    let nice = least.ok_or(Errno::ESRCH)?;
    Ok((20 - i64::from(nice)) as u64)
}

pub(super) fn getcpu(a: Arguments) -> Result<u64> {
    let number = cpu::id() as u32;
    a.address(0).write_if_wanted(&number.to_le_bytes())?;
    a.address(1).write_if_wanted(&0u32.to_le_bytes())?;
    Ok(0)
}
