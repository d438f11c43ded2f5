//! `null`, `zero`, `full` and `random`: bytes from nowhere, and to nowhere.

use alloc::sync::Arc;

use crate::error::{Errno, Result};
use crate::fs::device::Device;
use crate::fs::{FileOperations, Inode, OpenFlags};
use crate::memory::{Sink, Source};
use crate::random;

/// How many bytes are made at a time.
const CHUNK: usize = 256;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Has nothing, takes everything.
    Null,
    /// Has zeros, takes everything.
    Zero,
    /// Has zeros, takes nothing.
    Full,
    /// Has random bytes, and takes more randomness.
    Random,
}

/// Minor numbers, with major number 1, and names.
pub(super) const DEVICES: &[(u32, &str, Memory)] = &[
    (3, "null", Memory::Null),
    (5, "zero", Memory::Zero),
    (7, "full", Memory::Full),
    (8, "random", Memory::Random),
    (9, "urandom", Memory::Random),
];

impl Device for Memory {
    fn open(&self, _: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(*self))
    }
}

/// Moves `left` bytes in chunks, and counts them.
fn in_chunks(
    left: usize,
    mut step: impl FnMut(&mut [u8]) -> Result<(), crate::memory::Stopped>,
) -> Result<usize> {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < left {
        let count = CHUNK.min(left - done);
        match step(&mut chunk[..count]) {
            Ok(()) => done += count,
            Err(stopped) if done + stopped.done == 0 => return Err(stopped.errno()),
            Err(stopped) => return Ok(done + stopped.done),
        }
    }
    Ok(done)
}

impl FileOperations for Memory {
    fn read(&self, _: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        match self {
            Self::Null => Ok(0),
            Self::Zero | Self::Full => in_chunks(sink.left(), |chunk| sink.put(chunk)),
            Self::Random => in_chunks(sink.left(), |chunk| {
                random::fill(chunk);
                sink.put(chunk)
            }),
        }
    }

    fn write(&self, _: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        match self {
            // The bytes are not even looked at.
            Self::Null | Self::Zero => Ok(source.left()),
            Self::Full => Err(Errno::ENOSPC),
            Self::Random => in_chunks(source.left(), |chunk| {
                source.take(chunk)?;
                random::add_seed(chunk);
                Ok(())
            }),
        }
    }

    fn maps_as_anonymous(&self) -> bool {
        *self == Self::Zero
    }

    /// A position has no meaning here, and asking for one no harm.
    fn end(&self, _: &dyn Inode) -> Result<u64> {
        Ok(0)
    }
}
