//! Clocks, sleeping and timers.

use linux_raw_sys::general as linux;

use super::Arguments;
use crate::arch::time;
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::{clock, current, timer};

const SECOND: u64 = 1_000_000_000;
/// What a clock can tell apart, in nanoseconds.
const RESOLUTION: u64 = 1;

/// Nanoseconds as a `timespec`.
fn timespec(nanoseconds: u64) -> [u8; 16] {
    pair(nanoseconds / SECOND, nanoseconds % SECOND)
}

/// Nanoseconds as a `timeval`.
fn timeval(nanoseconds: u64) -> [u8; 16] {
    pair(nanoseconds / SECOND, nanoseconds % SECOND / 1000)
}

fn pair(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

/// Reads seconds and a fraction, of which `unit` make a second. Too long is for ever.
fn read_pair(address: UserAddress, unit: u64) -> Result<u64> {
    let (seconds, fraction) = (address.read_u64()?, address.offset(8).read_u64()?);
    if i64::try_from(seconds).is_err() || fraction >= unit {
        return Err(Errno::EINVAL);
    }
    let whole = seconds.saturating_mul(SECOND);
    Ok(whole.saturating_add(fraction * (SECOND / unit)))
}

/// Reads a `timespec`, in nanoseconds.
pub(super) fn read_duration(address: UserAddress) -> Result<u64> {
    read_pair(address, SECOND)
}

/// A point in time of a clock, since boot.
pub(super) fn deadline(at: u64, realtime: bool) -> u64 {
    if realtime { clock::since_boot(at) } else { at }
}

fn is_realtime(id: u32) -> bool {
    matches!(
        id,
        linux::CLOCK_REALTIME | linux::CLOCK_REALTIME_COARSE | linux::CLOCK_TAI
    )
}

/// What a clock shows, in nanoseconds.
fn now(id: u32) -> Result<u64> {
    match id {
        id if is_realtime(id) => Ok(clock::realtime()),
        linux::CLOCK_MONOTONIC
        | linux::CLOCK_MONOTONIC_RAW
        | linux::CLOCK_MONOTONIC_COARSE
        | linux::CLOCK_BOOTTIME => Ok(time::now()),
        linux::CLOCK_PROCESS_CPUTIME_ID => Ok(current().process.total_runtime()),
        linux::CLOCK_THREAD_CPUTIME_ID => Ok(current().entity.runtime()),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn clock_gettime(a: Arguments) -> Result<u64> {
    a.address(1).write(&timespec(now(a.half(0))?)).map(|()| 0)
}

pub(super) fn clock_settime(a: Arguments) -> Result<u64> {
    if a.half(0) != linux::CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    clock::set_realtime(read_duration(a.address(1))?);
    Ok(0)
}

pub(super) fn clock_getres(a: Arguments) -> Result<u64> {
    now(a.half(0))?;
    a.address(1).write_if_wanted(&timespec(RESOLUTION))?;
    Ok(0)
}

pub(super) fn gettimeofday(a: Arguments) -> Result<u64> {
    a.address(0).write_if_wanted(&timeval(clock::realtime()))?;
    a.address(1).write_if_wanted(&[0; 8])?;
    Ok(0)
}

/// Sleeps, and if a signal comes first says how much is left.
fn sleep(until: u64, left: UserAddress) -> Result<u64> {
    if timer::sleep_until(until).is_ok() {
        return Ok(0);
    }
    left.write_if_wanted(&timespec(until.saturating_sub(time::now())))?;
    current().signals.lock().sleep = Some((until, left));
    Err(Errno::RESTART_WAIT)
}

pub(super) fn nanosleep(a: Arguments) -> Result<u64> {
    let length = read_duration(a.address(0))?;
    sleep(time::now().saturating_add(length), a.address(1))
}

/// Goes on with a sleep that a stop interrupted.
pub(super) fn restart_syscall() -> Result<u64> {
    let sleeping = current().signals.lock().sleep.take();
    let (until, left) = sleeping.ok_or(Errno::EINTR)?;
    sleep(until, left)
}

pub(super) fn clock_nanosleep(a: Arguments) -> Result<u64> {
    let id = a.half(0);
    let sleeps_by = is_realtime(id) || matches!(id, linux::CLOCK_MONOTONIC | linux::CLOCK_BOOTTIME);
    if !sleeps_by {
        now(id)?;
        return Err(Errno::EOPNOTSUPP);
    }
    let time = read_duration(a.address(2))?;
    if a.half(1) & linux::TIMER_ABSTIME == 0 {
        return sleep(time::now().saturating_add(time), a.address(3));
    }
    let until = deadline(time, is_realtime(id));
    timer::sleep_until(until).map_err(|_| Errno::RESTART_UNLESS_HANDLED)?;
    Ok(0)
}

/// Only the timer of real time is there.
fn check_timer(which: u32) -> Result<()> {
    if which == linux::ITIMER_REAL {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn write_timer(to: UserAddress, (left, interval): (u64, u64)) -> Result<()> {
    to.write(&timeval(interval))?;
    to.offset(16).write(&timeval(left))
}

pub(super) fn getitimer(a: Arguments) -> Result<u64> {
    check_timer(a.half(0))?;
    let timer = current().process.real_timer.lock().get();
    write_timer(a.address(1), timer).map(|()| 0)
}

pub(super) fn setitimer(a: Arguments) -> Result<u64> {
    const MICROSECONDS: u64 = 1_000_000;
    check_timer(a.half(0))?;
    let (first, interval) = match a.address(1) {
        address if address.is_null() => (0, 0),
        address => (
            read_pair(address.offset(16), MICROSECONDS)?,
            read_pair(address, MICROSECONDS)?,
        ),
    };
    let before = timer::set_interval(&current().process, first, interval);
    if !a.address(2).is_null() {
        write_timer(a.address(2), before)?;
    }
    Ok(0)
}
