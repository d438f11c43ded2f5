//! Copies between frames that users own and memory of the running process. Both sides can fail,
//! and the table of the copy tells which did.

use copy::Incomplete;
use extable::Side;
use mm::UserFrame;

use super::features::routines;
use super::layout::{PAGE, direct};
use super::user::{is_frame, outcome, stopped, within};
use crate::memory::{Cause, Stopped, UserAddress};

/// Byte `offset` of a frame, in the direct map.
pub(super) fn place(frame: &UserFrame, offset: usize) -> *mut u8 {
    debug_assert!(offset <= PAGE as usize);
    core::ptr::with_exposed_provenance_mut(direct(frame.pfn().0 * PAGE) as usize + offset)
}

fn classify(incomplete: &Incomplete, side: Side, frame: &UserFrame) -> Stopped {
    if is_frame(incomplete, side) {
        Stopped {
            done: incomplete.copied,
            cause: Cause::Frame(frame.pfn()),
        }
    } else {
        stopped(incomplete)
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
    let allowed = within(to, length);
    let target = core::ptr::with_exposed_provenance_mut(to.0 as usize);
    // SAFETY: a user range below the limit, and part of a frame that the reference keeps.
    let copied = unsafe { routines().copy_to_user(target, place(from, offset), allowed) };
    copied.map_err(|incomplete| classify(&incomplete, Side::Source, from))?;
    outcome(allowed, length)
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
    let allowed = within(from, length);
    let source = core::ptr::with_exposed_provenance(from.0 as usize);
    // SAFETY: as above. No Rust reference to a user's frame exists.
    let copied = unsafe { routines().copy_from_user(place(to, offset), source, allowed) };
    copied.map_err(|incomplete| classify(&incomplete, Side::Destination, to))?;
    outcome(allowed, length)
}

/// Copies from a frame, beginning at byte `offset` of it, to memory of the kernel's.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn read(from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Stopped> {
    // SAFETY: part of a frame that the reference keeps; `into` is the caller's alone.
    let copied =
        unsafe { routines().memcpy_mc(into.as_mut_ptr(), place(from, offset), into.len()) };
    copied.map_err(|incomplete| classify(&incomplete, Side::Source, from))
}

/// Copies from memory of the kernel's to a frame, beginning at byte `offset` of it.
pub fn write(to: &UserFrame, offset: usize, bytes: &[u8]) {
    // SAFETY: part of a frame that the reference keeps, to which no Rust reference exists.
    unsafe { routines().memcpy(place(to, offset), bytes.as_ptr(), bytes.len()) };
}
