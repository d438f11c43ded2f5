//! Writing suspect memory to a file or socket.
//!
//! A `write(2)` straight from memory that may be poisoned lets the *kernel* meet the poison. An
//! arm64 kernel without machine-check-safe copies panics then; any kernel gives an error without
//! a precise place. Here the process meets it first, in a copy that survives.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};

use crate::error::AccessError;
use crate::memory::Memory;
use crate::region::Region;

/// Bytes copied at a time: enough to make the calls cheap, few enough to stay in the caches.
const BOUNCE: usize = 64 << 10;

/// A write that stopped early.
#[derive(Debug)]
pub struct WriteError {
    /// Bytes that the kernel accepted: all that come before the failure.
    pub written: usize,
    /// What failed.
    pub cause: WriteErrorCause,
}

/// Which side of a write failed.
#[derive(Debug)]
pub enum WriteErrorCause {
    /// The memory; `copied` counts from the start of the write.
    Access(AccessError),
    /// The file or socket.
    Io(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write stopped after {} bytes: ", self.written)?;
        match &self.cause {
            WriteErrorCause::Access(error) => error.fmt(f),
            WriteErrorCause::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match &self.cause {
            WriteErrorCause::Access(error) => error,
            WriteErrorCause::Io(error) => error,
        })
    }
}

impl Region {
    /// Writes the bytes of `range` to `descriptor`, through a buffer that is good memory.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; all bytes before poison are written first. A descriptor that does not
    /// block gives [`io::ErrorKind::WouldBlock`] where it would.
    pub fn write_all_to(
        &self,
        range: Range<usize>,
        descriptor: impl AsFd,
    ) -> Result<(), WriteError> {
        let length = range.end.saturating_sub(range.start);
        bounce(length, descriptor, |buffer, offset| {
            self.read_at(range.start.saturating_add(offset), buffer)
        })
    }
}

impl Memory {
    /// Writes `length` bytes to `descriptor`, through a buffer that is good memory.
    ///
    /// # Errors
    ///
    /// As [`Region::write_all_to`].
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read for `length` bytes.
    pub unsafe fn write_all_to(
        self,
        source: *const u8,
        length: usize,
        descriptor: impl AsFd,
    ) -> Result<(), WriteError> {
        bounce(length, descriptor, |buffer, offset| {
            let source = source.wrapping_add(offset);
            // SAFETY: the caller's contract; `offset` and the buffer's length stay below `length`.
            unsafe { self.copy(buffer.as_mut_ptr(), source, buffer.len()) }.map_err(Into::into)
        })
    }
}

/// Writes `length` bytes that `read` brings, a buffer at a time.
fn bounce(
    length: usize,
    descriptor: impl AsFd,
    read: impl Fn(&mut [u8], usize) -> Result<(), AccessError>,
) -> Result<(), WriteError> {
    let descriptor = descriptor.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed for longer than this lives, and is not closed by it.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    let mut buffer = vec![0; BOUNCE.min(length)];
    let mut written = 0;
    while written < length {
        let wanted = BOUNCE.min(length - written);
        let result = read(&mut buffer[..wanted], written);
        let arrived = result.map_or_else(|error| error.copied(), |()| wanted);
        let before = written;
        write_all(&mut file, &buffer[..arrived], &mut written)?;
        if let Err(error) = result {
            return Err(WriteError {
                written,
                cause: WriteErrorCause::Access(after(error, before)),
            });
        }
    }
    Ok(())
}

/// The same error with `more` bytes before it.
fn after(error: AccessError, more: usize) -> AccessError {
    match error {
        AccessError::Memory(mut error) => {
            error.copied += more;
            AccessError::Memory(error)
        }
        other => other,
    }
}

/// As [`Write::write_all`], but counts.
fn write_all(file: &mut File, mut bytes: &[u8], written: &mut usize) -> Result<(), WriteError> {
    while !bytes.is_empty() {
        let cause = match file.write(bytes) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(count) => {
                *written += count;
                bytes = &bytes[count..];
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return Err(WriteError {
            written: *written,
            cause: WriteErrorCause::Io(cause),
        });
    }
    Ok(())
}
