//! Futexes.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use super::time::{deadline, read_duration};
use super::{Arguments, restarting, restarting_unless_handled};
use crate::arch::time;
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::process::find_thread;
use crate::task::{Pid, current, futex};

/// The size of `struct robust_list_head` in bytes.
const ROBUST_HEAD_SIZE: u64 = 24;

pub(super) fn futex(a: Arguments) -> Result<u64> {
    let operation = a.half(1);
    let private = operation & linux::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & linux::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME);
    let (address, value, other) = (a.address(0), a.half(2), a.address(4));
    let (count, second_count) = (a.size(2) & 0xffff_ffff, a.size(3) & 0xffff_ffff);
    let has_deadline = matches!(command, linux::FUTEX_WAIT | linux::FUTEX_WAIT_BITSET);
    if realtime && !has_deadline {
        return Err(Errno::ENOSYS);
    }
    let done = match command {
        linux::FUTEX_WAIT => return wait(a, private, realtime, u32::MAX),
        linux::FUTEX_WAIT_BITSET => return wait(a, private, realtime, a.half(5)),
        linux::FUTEX_WAKE => futex::wake(address, private, count, u32::MAX)?,
        linux::FUTEX_WAKE_BITSET if a.half(5) != 0 => {
            futex::wake(address, private, count, a.half(5))?
        }
        linux::FUTEX_WAKE_BITSET => return Err(Errno::EINVAL),
        linux::FUTEX_REQUEUE | linux::FUTEX_CMP_REQUEUE if (value as i32) < 0 || a.int(3) < 0 => {
            return Err(Errno::EINVAL);
        }
        linux::FUTEX_REQUEUE => futex::requeue(address, other, private, count, second_count, None)?,
        linux::FUTEX_CMP_REQUEUE => {
            let expected = Some(a.half(5));
            futex::requeue(address, other, private, count, second_count, expected)?
        }
        linux::FUTEX_WAKE_OP => {
            futex::wake_operation(address, other, private, count, second_count, a.half(5))?
        }
        _ => return Err(Errno::ENOSYS),
    };
    Ok(done as u64)
}

fn wait(a: Arguments, private: bool, realtime: bool, bits: u32) -> Result<u64> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let relative = a.half(1) & 0x7f == linux::FUTEX_WAIT;
    let until = match a.address(3) {
        address if address.is_null() => None,
        address if relative => Some(time::now().saturating_add(read_duration(address)?)),
        address => Some(deadline(read_duration(address)?, realtime)),
    };
    let waited = futex::wait(a.address(0), private, a.half(2), until, bits);
    match until {
        None => restarting(waited),
        Some(_) => restarting_unless_handled(waited),
    }
    .map(|()| 0)
}

pub(super) fn set_robust_list(a: Arguments) -> Result<u64> {
    if a.word(1) != ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    current().robust_list.store(a.word(0), Ordering::Relaxed);
    Ok(0)
}

pub(super) fn get_robust_list(a: Arguments) -> Result<u64> {
    let head = match a.int(0) {
        0 => current().robust_list.load(Ordering::Relaxed),
        id => find_thread(Pid(id as u32))
            .ok_or(Errno::ESRCH)?
            .robust_list
            .load(Ordering::Relaxed),
    };
    let write = |to: UserAddress, word: u64| to.write(&word.to_le_bytes());
    write(a.address(1), head)?;
    write(a.address(2), ROBUST_HEAD_SIZE)?;
    Ok(0)
}
