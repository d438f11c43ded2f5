//! Small pieces of user memory: numbers, structures, strings.

use alloc::vec::Vec;

use mm::PAGE_SIZE;

use crate::arch::user;
use crate::error::{Errno, Result};
use crate::memory::{UserAddress, UserRange};

/// How much of a string is read at a time, in bytes.
const CHUNK: usize = 128;

impl UserAddress {
    /// No address: an argument that was left out.
    pub const NULL: Self = Self(0);

    /// Whether it is [`NULL`](Self::NULL).
    pub fn is_null(self) -> bool {
        self == Self::NULL
    }

    /// The address so many bytes on.
    pub fn offset(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes as u64))
    }

    /// So many bytes from here.
    ///
    /// # Errors
    ///
    /// `EFAULT`: they do not end where a process can have memory. Whether it has is seen when they
    /// are accessed.
    pub fn range(self, length: usize) -> Result<UserRange> {
        const END: u64 = 1 << mm::ADDRESS_BITS;
        let end = self.0.checked_add(length as u64);
        match end.filter(|end| *end <= END) {
            Some(_) => Ok(UserRange {
                start: self,
                length,
            }),
            None => Err(Errno::EFAULT),
        }
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn read<const N: usize>(self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        user::copy_from_user(&mut bytes, self).map_err(|stopped| stopped.errno())?;
        Ok(bytes)
    }

    /// Reads a word of 4 bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn read_u32(self) -> Result<u32> {
        self.read().map(u32::from_le_bytes)
    }

    /// Reads a word of 8 bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn read_u64(self) -> Result<u64> {
        self.read().map(u64::from_le_bytes)
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT`: some of them may have been written.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        user::copy_to_user(self, bytes).map_err(|stopped| stopped.errno())
    }

    /// Writes bytes, unless this is [`NULL`](Self::NULL).
    ///
    /// # Errors
    ///
    /// `EFAULT`: some of them may have been written.
    pub fn write_if_wanted(self, bytes: &[u8]) -> Result<()> {
        if self.is_null() {
            Ok(())
        } else {
            self.write(bytes)
        }
    }

    /// Reads a string up to a zero, which is left out.
    ///
    /// # Errors
    ///
    /// `EFAULT`; `too_long` if there is no zero in `limit` bytes; `ENOMEM`.
    pub fn read_string(self, limit: usize, too_long: Errno) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        loop {
            let start = self.offset(string.len());
            // A chunk does not go beyond a page that the string may end in.
            let in_page = PAGE_SIZE - start.0 as usize % PAGE_SIZE;
            let length = CHUNK.min(in_page).min(limit - string.len());
            if length == 0 {
                return Err(too_long);
            }
            let mut chunk = [0; CHUNK];
            let read = user::copy_from_user(&mut chunk[..length], start);
            let arrived = read.map_or_else(|stopped| stopped.done, |()| length);
            let end = chunk[..arrived].iter().position(|byte| *byte == 0);
            let piece = &chunk[..end.unwrap_or(arrived)];
            string.try_reserve(piece.len()).map_err(|_| Errno::ENOMEM)?;
            string.extend_from_slice(piece);
            if end.is_some() {
                return Ok(string);
            }
            read.map_err(|stopped| stopped.errno())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::arch::user::lend;
    use crate::error::Errno;
    use crate::memory::UserAddress;

    #[test]
    fn strings_end_at_their_zero_or_where_memory_does() {
        let mut memory = [b'x'; 9000];
        memory[8000] = 0;
        let loan = lend(&mut memory);
        let at = |offset| loan.address().offset(offset);
        assert_eq!(at(0).read_string(9000, Errno::E2BIG), Ok(vec![b'x'; 8000]));
        assert_eq!(at(0).read_string(8001, Errno::E2BIG), Ok(vec![b'x'; 8000]));
        assert_eq!(at(0).read_string(8000, Errno::E2BIG), Err(Errno::E2BIG));
        assert_eq!(at(8001).read_string(9000, Errno::E2BIG), Err(Errno::EFAULT));
        assert_eq!(at(8000).read_string(1, Errno::E2BIG), Ok(vec![]));
    }

    #[test]
    fn ranges_end_where_processes_do() {
        let end = 1 << mm::ADDRESS_BITS;
        assert!(UserAddress(end - 8).range(8).is_ok());
        assert!(UserAddress(0).range(0).is_ok());
        for (start, length) in [(end - 8, 9), (end, 1), (u64::MAX, 1), (0, usize::MAX)] {
            let range = UserAddress(start).range(length);
            assert_eq!(range.err(), Some(Errno::EFAULT), "{start:#x}");
        }
    }

    #[test]
    fn words_are_little_endian() {
        let mut memory = [1, 0, 0, 0, 2, 0, 0, 0, 9];
        let loan = lend(&mut memory);
        assert_eq!(loan.address().read_u64(), Ok(2 << 32 | 1));
        assert_eq!(loan.address().offset(4).read_u32(), Ok(2));
        assert_eq!(loan.address().offset(4).read_u64(), Err(Errno::EFAULT));
    }
}
