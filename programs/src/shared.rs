//! Memory that a process shares with its children.

use std::io;
use std::ptr;

use anyhow::{Context, Result};

/// What may live there.
///
/// # Safety
///
/// All bytes zero must be a value of it, and it must be changed through shared references only by
/// atomics: other processes see it at the same time.
pub unsafe trait Shared: Sync + Sized {
    /// A value of zeros, until this process and all children that are forked later end.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    fn shared() -> Result<&'static Self> {
        // SAFETY: a new mapping, wherever there is room.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("no memory to share");
        }
        // SAFETY: the mapping is never undone, large enough and aligned to a page, and the trait's
        // promise is that zeros are a value.
        Ok(unsafe { &*address.cast::<Self>() })
    }
}
