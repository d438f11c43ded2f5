//! Copies between frames and user memory, by way of a buffer.

use mm::{Machine as _, Poisoned, UserFrame};

use super::user;
use crate::memory::{Cause, Stopped, UserAddress, manager};

fn stopped(Poisoned { pfn, done }: Poisoned) -> Stopped {
    Stopped {
        done,
        cause: Cause::Frame(pfn),
    }
}

/// Copies from a frame, beginning at byte `offset` of it, to user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_to_user(
    to: UserAddress,
    from: &UserFrame,
    offset: usize,
    length: usize,
) -> Result<(), Stopped> {
    let mut buffer = vec![0; length];
    let read = manager().machine().read(from, offset, &mut buffer);
    let readable = read.map_or_else(|poisoned| poisoned.done, |()| length);
    user::copy_to_user(to, &buffer[..readable])?;
    read.map_err(stopped)
}

/// Copies from user memory to a frame, beginning at byte `offset` of it.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_from_user(
    to: &UserFrame,
    offset: usize,
    from: UserAddress,
    length: usize,
) -> Result<(), Stopped> {
    let mut buffer = vec![0; length];
    let copied = user::copy_from_user(&mut buffer, from);
    let arrived = copied.map_or_else(|stopped| stopped.done, |()| length);
    manager().machine().write(to, offset, &buffer[..arrived]);
    copied
}

/// Copies from a frame, beginning at byte `offset` of it, to memory of the kernel's.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn read(from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Stopped> {
    let manager = manager();
    let machine = manager.machine();
    machine.read(from, offset, into).map_err(stopped)
}

/// Copies from memory of the kernel's to a frame, beginning at byte `offset` of it.
pub fn write(to: &UserFrame, offset: usize, bytes: &[u8]) {
    manager().machine().write(to, offset, bytes);
}
