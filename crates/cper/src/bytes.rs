//! Taking structures from bytes and putting them there, with offsets for error messages.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{EncodeError, Malformed};

/// What is left of some bytes, and how far from their start that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::starting_at(bytes, 0)
    }

    /// A reader of bytes that start at `offset` in what error messages count from.
    pub(crate) fn starting_at(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn take(
        &mut self,
        what: &'static str,
        needed: usize,
    ) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.bytes.split_at_checked(needed) else {
            return Err(Malformed::Truncated {
                what,
                offset: self.offset,
                needed,
                available: self.bytes.len(),
            });
        };
        self.bytes = rest;
        self.offset += needed;
        Ok(taken)
    }

    pub(crate) fn read<T>(&mut self, what: &'static str) -> Result<&'a T, Malformed>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        let (offset, available) = (self.offset, self.bytes.len());
        let taken = self.take(what, size_of::<T>())?;
        T::ref_from_bytes(taken).map_err(|_| Malformed::Truncated {
            what,
            offset,
            needed: size_of::<T>(),
            available,
        })
    }
}

/// A buffer that fills from its start.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn put(
        &mut self,
        value: &(impl IntoBytes + Immutable + ?Sized),
    ) -> Result<(), EncodeError> {
        self.put_at(self.length, value)
    }

    /// Puts `value` at `offset`, which may be among the bytes already there.
    pub(crate) fn put_at(
        &mut self,
        offset: usize,
        value: &(impl IntoBytes + Immutable + ?Sized),
    ) -> Result<(), EncodeError> {
        let bytes = value.as_bytes();
        self.room(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Puts `count` zeros.
    pub(crate) fn pad(&mut self, count: usize) -> Result<(), EncodeError> {
        self.room(self.length, count)?.fill(0);
        Ok(())
    }

    fn room(&mut self, offset: usize, count: usize) -> Result<&mut [u8], EncodeError> {
        let end = offset.saturating_add(count);
        let available = self.buffer.len();
        let room = self
            .buffer
            .get_mut(offset..end)
            .ok_or(EncodeError::BufferTooSmall {
                needed: end,
                available,
            })?;
        self.length = self.length.max(end);
        Ok(room)
    }
}
