//! Access to the memory of the running process, by unprivileged loads and stores, or copy
//! instructions that act as such. A page fault in one is resolved on the way; what cannot be
//! resolved, and a memory error, ends the access.

use copy::{Incomplete, Word};
use extable::{Cause as Why, Side};

use super::features::{has_pan, routines};
use super::layout::USER_END;
use super::registers::run;
use crate::memory::{Cause, Stopped, UserAddress};

/// How many of `length` bytes from `address` are not beyond what a process can have.
pub(super) fn within(address: UserAddress, length: usize) -> usize {
    length.min(USER_END.saturating_sub(address.0) as usize)
}

/// What stopped an access to user memory on `side`.
pub(super) fn stopped(incomplete: &Incomplete) -> Stopped {
    Stopped {
        done: incomplete.copied,
        cause: match incomplete.cause() {
            Why::Fault => Cause::Fault,
            Why::MemoryError => Cause::UserMemory,
        },
    }
}

/// The end of an access that went as far as it was allowed to.
pub(super) fn outcome(done: usize, length: usize) -> Result<(), Stopped> {
    if done == length {
        Ok(())
    } else {
        Err(Stopped::fault(done))
    }
}

/// Copies from user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_from_user(into: &mut [u8], from: UserAddress) -> Result<(), Stopped> {
    let length = within(from, into.len());
    let source = core::ptr::with_exposed_provenance(from.0 as usize);
    // SAFETY: a user range below the limit; `into` is the caller's alone.
    let copied = unsafe { routines().copy_from_user(into.as_mut_ptr(), source, length) };
    copied.map_err(|incomplete| stopped(&incomplete))?;
    outcome(length, into.len())
}

/// Copies to user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_to_user(to: UserAddress, from: &[u8]) -> Result<(), Stopped> {
    let length = within(to, from.len());
    let target = core::ptr::with_exposed_provenance_mut(to.0 as usize);
    // SAFETY: a user range below the limit; nothing writes to `from`.
    let copied = unsafe { routines().copy_to_user(target, from.as_ptr(), length) };
    copied.map_err(|incomplete| stopped(&incomplete))?;
    outcome(length, from.len())
}

fn word<T: Word>(address: UserAddress) -> Result<*mut T, Stopped> {
    outcome(within(address, size_of::<T>()), size_of::<T>()).map_err(|_| Stopped::fault(0))?;
    Ok(core::ptr::with_exposed_provenance_mut(address.0 as usize))
}

fn failed(report: extable::Report) -> Stopped {
    Stopped {
        done: 0,
        cause: match report.cause() {
            Why::Fault => Cause::Fault,
            Why::MemoryError => Cause::UserMemory,
        },
    }
}

/// Loads a word of user memory.
///
/// # Errors
///
/// [`Stopped`], with nothing done.
pub fn get<T: Word>(from: UserAddress) -> Result<T, Stopped> {
    let source = word::<T>(from)?;
    // SAFETY: a user address below the limit.
    unsafe { copy::get_user(source.cast_const()) }.map_err(failed)
}

/// Stores a word to user memory.
///
/// # Errors
///
/// [`Stopped`], with nothing done.
pub fn put<T: Word>(to: UserAddress, value: T) -> Result<(), Stopped> {
    let target = word::<T>(to)?;
    // SAFETY: a user address below the limit.
    unsafe { copy::put_user(target, value) }.map_err(failed)
}

/// Replaces an aligned word of 4 bytes by `new` if it is `expected`. Returns what it was.
///
/// # Errors
///
/// [`Stopped`], with nothing done.
pub fn compare_exchange(address: UserAddress, expected: u32, new: u32) -> Result<u32, Stopped> {
    let target = word::<u32>(address)?;
    if !address.0.is_multiple_of(4) {
        return Err(Stopped::fault(0));
    }
    let _open = Open::new();
    // SAFETY: an aligned user address below the limit, and PAN is off.
    unsafe { copy::cmpxchg_user(target, expected, new) }.map_err(failed)
}

/// Lets ordinary instructions access user memory as long as it lives: there are no unprivileged
/// atomics. A page fault on the way sets PAN for its handler alone, and the return from it puts
/// this back.
struct Open(());

impl Open {
    fn new() -> Self {
        if has_pan() {
            run!(".arch_extension pan", "msr pan, #0");
        }
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if has_pan() {
            run!(".arch_extension pan", "msr pan, #1");
        }
    }
}

/// Clears user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes were cleared.
pub fn clear(to: UserAddress, length: usize) -> Result<(), Stopped> {
    let allowed = within(to, length);
    let target = core::ptr::with_exposed_provenance_mut(to.0 as usize);
    // SAFETY: a user range below the limit.
    let cleared = unsafe { routines().clear_user(target, allowed) };
    cleared.map_err(|incomplete| stopped(&incomplete))?;
    outcome(allowed, length)
}

/// Whether it was the kernel's side of a copy whose memory failed.
pub(super) fn is_frame(incomplete: &Incomplete, side: Side) -> bool {
    incomplete.cause() == Why::MemoryError && incomplete.side() == Some(side)
}
