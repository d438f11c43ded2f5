//! Files of 64-bit words, one for each page: as `/proc/PID/pagemap` and `/proc/kpageflags` are.

use alloc::boxed::Box;
use core::fmt;

use crate::error::{Errno, Result};
use crate::fs::{FileOperations, Inode, OpenFlags};
use crate::memory::Sink;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();
/// How many words are made at a time.
const WORDS: usize = 64;

/// A file whose words a function makes.
pub(super) struct Words {
    count: u64,
    word: Box<dyn Fn(u64) -> u64 + Send + Sync>,
}

impl fmt::Debug for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Words({})", self.count)
    }
}

impl Words {
    /// One of `count` words; `word` makes the one with a number.
    pub(super) fn new(count: u64, word: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        Self {
            count,
            word: Box::new(word),
        }
    }
}

impl FileOperations for Words {
    fn read(&self, position: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        if !position.is_multiple_of(WORD as u64) || !sink.left().is_multiple_of(WORD) {
            return Err(Errno::EINVAL);
        }
        let mut next = position / WORD as u64;
        let mut done = 0;
        while sink.left() > 0 && next < self.count {
            let count = (sink.left() / WORD).min(WORDS) as u64;
            let end = self.count.min(next + count);
            let mut bytes = [0; WORDS * WORD];
            let (words, _) = bytes.as_chunks_mut::<WORD>();
            for (word, number) in words.iter_mut().zip(next..end) {
                *word = (self.word)(number).to_le_bytes();
            }
            let length = (end - next) as usize * WORD;
            match sink.put(&bytes[..length]) {
                Ok(()) => done += length,
                Err(stopped) if done + stopped.done == 0 => return Err(stopped.errno()),
                Err(stopped) => return Ok(done + stopped.done),
            }
            next = end;
        }
        Ok(done)
    }

    fn end(&self, _: &dyn Inode) -> Result<u64> {
        Err(Errno::EINVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::Words;
    use crate::error::Errno;
    use crate::fs::{FileOperations, OpenFlags};
    use crate::memory::Sink;

    #[test]
    fn whole_words_are_read_up_to_the_end() {
        let file = Words::new(100, |number| number * 3);
        let mut bytes = [0xff; 8 * 80];
        let read = |position, bytes: &mut [u8]| {
            file.read(position, &mut Sink::Kernel(bytes), OpenFlags::empty())
        };
        assert_eq!(read(8, &mut bytes), Ok(640));
        assert_eq!(bytes[..8], 3u64.to_le_bytes());
        assert_eq!(bytes[632..], 240u64.to_le_bytes());
        assert_eq!(read(8 * 60, &mut bytes), Ok(320));
        assert_eq!(read(800, &mut bytes), Ok(0));
        assert_eq!(read(!7, &mut bytes), Ok(0));
        assert_eq!(read(1, &mut bytes), Err(Errno::EINVAL));
        assert_eq!(read(0, &mut bytes[..9]), Err(Errno::EINVAL));
    }
}
