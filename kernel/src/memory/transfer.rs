//! Where the bytes of a system call go to and come from.
//!
//! A file does not know whether it is read by a program, by `execve` or by a core dump: it fills
//! a [`Sink`], from memory of the kernel's or from page cache frames. Every step can stop early,
//! and says exactly how far it got.

use mm::{Pfn, UserFrame};

use crate::arch::{frame, user};
use crate::error::{Errno, Result};

/// An address in the running process. Any value is allowed: access to it can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAddress(pub u64);

/// A range of user memory: one part of an `iovec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// Its first byte.
    pub start: UserAddress,
    /// Its length in bytes.
    pub length: usize,
}

/// A transfer ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// How many bytes arrived: exactly those, and none after.
    pub done: usize,
    /// Why.
    pub cause: Cause,
}

/// Why a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The user range is not mapped, or not so.
    Fault,
    /// The memory behind the user range failed. The abort's handler has seen to its isolation.
    UserMemory,
    /// This frame failed. Whoever owns it must have it isolated.
    Frame(Pfn),
}

impl Stopped {
    /// The user range is not mapped.
    pub fn fault(done: usize) -> Self {
        Self {
            done,
            cause: Cause::Fault,
        }
    }

    /// What a system call reports if nothing was done before: `EIO` if a frame of a file failed,
    /// otherwise `EFAULT`.
    pub fn errno(&self) -> Errno {
        match self.cause {
            Cause::Fault | Cause::UserMemory => Errno::EFAULT,
            Cause::Frame(_) => Errno::EIO,
        }
    }
}

/// Where the bytes of a read go.
#[derive(Debug)]
pub enum Sink<'a> {
    /// Memory of the kernel's: what is left of it.
    Kernel(&'a mut [u8]),
    /// Ranges of user memory: what is left of them.
    User(&'a mut [UserRange]),
}

/// Where the bytes of a write come from.
#[derive(Debug)]
pub enum Source<'a> {
    /// Memory of the kernel's: what is left of it.
    Kernel(&'a [u8]),
    /// Ranges of user memory: what is left of them.
    User(&'a mut [UserRange]),
}

/// Goes through user ranges, `length` bytes in all, and takes off what was done.
fn through<'a>(
    ranges: &mut &'a mut [UserRange],
    length: usize,
    mut step: impl FnMut(UserAddress, usize, usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let mut done = 0;
    while done < length {
        let Some(first) = ranges.first_mut() else {
            return Err(Stopped::fault(done));
        };
        let part = first.length.min(length - done);
        let stepped = step(first.start, done, part);
        let moved = stepped.map_or_else(|stopped| stopped.done, |()| part);
        // An address that wraps around is caught by the access that follows.
        first.start.0 = first.start.0.wrapping_add(moved as u64);
        first.length -= moved;
        done += moved;
        if first.length == 0 {
            let all: &'a mut [UserRange] = core::mem::take(ranges);
            *ranges = all.split_at_mut(1).1;
        }
        stepped.map_err(|stopped| Stopped { done, ..stopped })?;
    }
    Ok(())
}

/// Whether all ranges begin and end at multiples of `unit` bytes.
fn are_aligned(ranges: &[UserRange], unit: usize) -> bool {
    ranges
        .iter()
        .all(|range| range.start.0.is_multiple_of(unit as u64) && range.length.is_multiple_of(unit))
}

fn left(ranges: &[UserRange]) -> usize {
    ranges
        .iter()
        .fold(0, |sum, range| sum.saturating_add(range.length))
}

impl<'a> Sink<'a> {
    /// How many bytes it still takes.
    pub fn left(&self) -> usize {
        match self {
            Self::Kernel(buffer) => buffer.len(),
            Self::User(ranges) => left(ranges),
        }
    }

    /// Whether what is left begins and ends at multiples of `unit` bytes, as `O_DIRECT` demands of
    /// user memory.
    pub fn is_aligned(&self, unit: usize) -> bool {
        match self {
            Self::Kernel(buffer) => buffer.len().is_multiple_of(unit),
            Self::User(ranges) => are_aligned(ranges, unit),
        }
    }

    /// Adds bytes of the kernel's. There must be room.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: so many arrived.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        match self {
            Self::Kernel(buffer) => {
                let all: &'a mut [u8] = core::mem::take(buffer);
                let (filled, rest) = all.split_at_mut(bytes.len());
                filled.copy_from_slice(bytes);
                *buffer = rest;
                Ok(())
            }
            Self::User(ranges) => through(ranges, bytes.len(), |to, done, length| {
                user::copy_to_user(to, &bytes[done..done + length])
            }),
        }
    }

    /// Adds `length` bytes of a frame, from byte `offset` of it. There must be room.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: so many arrived.
    pub fn put_frame(
        &mut self,
        from: &UserFrame,
        offset: usize,
        length: usize,
    ) -> Result<(), Stopped> {
        match self {
            Self::Kernel(buffer) => {
                let read = frame::read(from, offset, &mut buffer[..length]);
                let moved = read.map_or_else(|stopped| stopped.done, |()| length);
                let all: &'a mut [u8] = core::mem::take(buffer);
                *buffer = &mut all[moved..];
                read
            }
            Self::User(ranges) => through(ranges, length, |to, done, length| {
                frame::copy_to_user(to, from, offset + done, length)
            }),
        }
    }
}

impl Source<'_> {
    /// How many bytes it still has.
    pub fn left(&self) -> usize {
        match self {
            Self::Kernel(buffer) => buffer.len(),
            Self::User(ranges) => left(ranges),
        }
    }

    /// Whether what is left begins and ends at multiples of `unit` bytes, as `O_DIRECT` demands of
    /// user memory.
    pub fn is_aligned(&self, unit: usize) -> bool {
        match self {
            Self::Kernel(buffer) => buffer.len().is_multiple_of(unit),
            Self::User(ranges) => are_aligned(ranges, unit),
        }
    }

    /// Takes bytes into memory of the kernel's. There must be so many.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: so many arrived.
    pub fn take(&mut self, into: &mut [u8]) -> Result<(), Stopped> {
        match self {
            Self::Kernel(buffer) => {
                let (taken, rest) = buffer.split_at(into.len());
                into.copy_from_slice(taken);
                *buffer = rest;
                Ok(())
            }
            Self::User(ranges) => through(ranges, into.len(), |from, done, length| {
                user::copy_from_user(&mut into[done..done + length], from)
            }),
        }
    }

    /// Takes `length` bytes into a frame, from byte `offset` of it. There must be so many.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: so many arrived.
    pub fn take_frame(
        &mut self,
        to: &UserFrame,
        offset: usize,
        length: usize,
    ) -> Result<(), Stopped> {
        match self {
            Self::Kernel(buffer) => {
                let (taken, rest) = buffer.split_at(length);
                frame::write(to, offset, taken);
                *buffer = rest;
                Ok(())
            }
            Self::User(ranges) => through(ranges, length, |from, done, length| {
                frame::copy_from_user(to, offset + done, from, length)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Sink, Source, UserAddress, UserRange};
    use crate::arch::user::lend;

    #[test]
    fn user_ranges_are_filled_one_after_the_other() {
        let (mut first, mut second) = ([0; 3], [0; 4]);
        let (first, second) = (lend(&mut first), lend(&mut second));
        let mut ranges = [(&first, 3), (&second, 4)].map(|(loan, length)| UserRange {
            start: loan.address(),
            length,
        });
        let mut sink = Sink::User(&mut ranges);
        sink.put(b"ab").unwrap();
        sink.put(b"cde").unwrap();
        assert_eq!(sink.left(), 2);
        assert_eq!(
            (first.bytes(), second.bytes()),
            (&b"abc"[..], &b"de\0\0"[..])
        );
    }

    #[test]
    fn a_fault_keeps_the_bytes_before_it() {
        let mut memory = *b"abcd";
        let loan = lend(&mut memory);
        let mut ranges = [UserRange {
            start: UserAddress(loan.address().0 + 1),
            length: 100,
        }];
        let mut source = Source::User(&mut ranges);
        let mut into = [0; 8];
        let stopped = source.take(&mut into).unwrap_err();
        assert_eq!((stopped.done, stopped.cause), (3, Cause::Fault));
        assert_eq!(&into[..4], b"bcd\0");
        assert_eq!(source.left(), 97);
    }
}
