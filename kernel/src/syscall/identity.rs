//! Who a process is: users, groups, sessions. There is one user, root.

use super::Arguments;
use crate::error::{Errno, Result};
use crate::task::{Pid, current, id, tree};

pub(super) fn getppid() -> Result<u64> {
    Ok(tree().lock().parent(current().process.id).0.into())
}

pub(super) fn getresuid(a: Arguments) -> Result<u64> {
    for index in 0..3 {
        a.address(index).write(&0u32.to_le_bytes())?;
    }
    Ok(0)
}

/// Only root can be set.
fn check_user(user: u32) -> Result<()> {
    if user == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn setuid(a: Arguments) -> Result<u64> {
    check_user(a.half(0))?;
    Ok(0)
}

pub(super) fn setresuid(a: Arguments) -> Result<u64> {
    for index in 0..3 {
        // -1 leaves one as it is.
        if a.half(index) != u32::MAX {
            check_user(a.half(index))?;
        }
    }
    Ok(0)
}

/// Root's list of other groups is empty.
pub(super) fn getgroups(a: Arguments) -> Result<u64> {
    if a.int(0) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// The list stays empty.
pub(super) fn setgroups(a: Arguments) -> Result<u64> {
    /// The most groups that a list can have (`NGROUPS_MAX`).
    const LIMIT: usize = 65536;
    let count = usize::try_from(a.int(0)).map_err(|_| Errno::EINVAL)?;
    if count > LIMIT {
        return Err(Errno::EINVAL);
    }
    for index in 0..count {
        a.address(1).offset(4 * index).read_u32()?;
    }
    if count == 0 {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

/// The process that an argument names; 0 is the caller's.
fn process(argument: i32) -> Result<Pid> {
    match argument {
        0 => Ok(current().process.id),
        1.. => Ok(Pid(argument as u32)),
        _ => Err(Errno::ESRCH),
    }
}

pub(super) fn setpgid(a: Arguments) -> Result<u64> {
    if a.int(0) < 0 || a.int(1) < 0 {
        return Err(Errno::EINVAL);
    }
    let pid = process(a.int(0))?;
    let group = if a.int(1) == 0 { pid } else { Pid(a.half(1)) };
    let freed = tree().lock().set_group(current().process.id, pid, group)?;
    freed.into_iter().for_each(id::free);
    Ok(0)
}

pub(super) fn getpgid(a: Arguments) -> Result<u64> {
    let pid = process(a.int(0))?;
    Ok(tree().lock().group(pid)?.0.into())
}

pub(super) fn getsid(a: Arguments) -> Result<u64> {
    let pid = process(a.int(0))?;
    Ok(tree().lock().session(pid)?.0.into())
}

pub(super) fn setsid() -> Result<u64> {
    let pid = current().process.id;
    let freed = tree().lock().set_session(pid)?;
    freed.into_iter().flatten().for_each(id::free);
    Ok(pid.0.into())
}
