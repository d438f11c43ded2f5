//! A block device as the crate `ext4plus` wants it: bytes at any position.
//!
//! The crate reads bitmaps byte by byte, so what it asked for in such small pieces is kept. Whole
//! sectors are mostly bytes of files, which the page cache keeps; they pass by. Everything is written
//! at once, so that the device always has what is kept here.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt;

use ext4plus::{Ext4Read, Ext4Write};

use crate::error::{Errno, Result};
use crate::fs::block::{BlockDevice, SECTOR};
use crate::sync::Mutex;

type BoxedError = Box<dyn core::error::Error + Send + Sync + 'static>;

/// The unit that is kept, in bytes: the largest block that a page cache page can have.
const CHUNK: usize = 4096;
/// How many chunks are kept: 512 KiB.
const CHUNKS: usize = 128;

/// The device of a volume.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    device: Arc<dyn BlockDevice>,
    kept: Arc<Mutex<Kept>>,
}

/// Chunks of the device, by their number, each with the time of its last use.
#[derive(Default)]
struct Kept {
    chunks: BTreeMap<u64, (u64, Box<[u8]>)>,
    time: u64,
}

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} chunks", self.chunks.len())
    }
}

/// An error of the device's on its way through the crate.
#[derive(Debug)]
struct Failed(Errno);

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the device failed: {:?}", self.0)
    }
}

impl core::error::Error for Failed {}

impl Kept {
    fn chunk(&mut self, device: &dyn BlockDevice, number: u64) -> Result<&mut [u8]> {
        self.time += 1;
        if !self.chunks.contains_key(&number) {
            let chunk = read_chunk(device, number)?;
            if self.chunks.len() >= CHUNKS {
                self.drop_oldest();
            }
            self.chunks.insert(number, (self.time, chunk));
        }
        let (used, chunk) = self.chunks.get_mut(&number).ok_or(Errno::EIO)?;
        *used = self.time;
        Ok(chunk)
    }

    /// Whether these bytes are whole sectors of a chunk that is not kept.
    fn passes_by(&self, number: u64, offset: usize, length: usize) -> bool {
        offset.is_multiple_of(SECTOR)
            && length.is_multiple_of(SECTOR)
            && !self.chunks.contains_key(&number)
    }

    fn drop_oldest(&mut self) {
        let oldest = self.chunks.iter().min_by_key(|(_, (used, _))| *used);
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.chunks.remove(&number);
        }
    }
}

/// A chunk, which is shorter where the device ends.
fn read_chunk(device: &dyn BlockDevice, number: u64) -> Result<Box<[u8]>> {
    let first = sector(number, 0);
    let sectors = device.sectors().saturating_sub(first);
    let sectors = sectors.min((CHUNK / SECTOR) as u64);
    let mut chunk = vec![0; sectors as usize * SECTOR].into_boxed_slice();
    device.read(first, &mut chunk)?;
    Ok(chunk)
}

fn sector(number: u64, offset: usize) -> u64 {
    number * (CHUNK / SECTOR) as u64 + (offset / SECTOR) as u64
}

/// The chunks that `length` bytes from `start` lie in: number, offset in it, and how many bytes.
fn parts(start: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = start.checked_add(done as u64)?;
        let offset = (at % CHUNK as u64) as usize;
        let part = (CHUNK - offset).min(length - done);
        done += part;
        (part > 0).then_some((at / CHUNK as u64, offset, part))
    })
}

impl Bytes {
    pub(super) fn new(device: Arc<dyn BlockDevice>) -> Self {
        Self {
            device,
            kept: Arc::default(),
        }
    }

    /// Reads `into.len()` bytes from byte `start` on.
    ///
    /// # Errors
    ///
    /// `EIO`: the device failed, or ends before.
    pub(super) fn read_bytes(&self, start: u64, into: &mut [u8]) -> Result<()> {
        let mut kept = self.kept.lock();
        let mut rest = into;
        for (number, offset, length) in parts(start, rest.len()) {
            let (now, later) = rest.split_at_mut(length);
            rest = later;
            if kept.passes_by(number, offset, length) {
                self.device.read(sector(number, offset), now)?;
                continue;
            }
            let chunk = kept.chunk(&*self.device, number)?;
            now.copy_from_slice(chunk.get(offset..offset + length).ok_or(Errno::EIO)?);
        }
        Ok(())
    }

    /// Writes bytes from byte `start` on, to the device too.
    ///
    /// # Errors
    ///
    /// As for [`read_bytes`](Self::read_bytes), and `EROFS`.
    pub(super) fn write_bytes(&self, start: u64, mut bytes: &[u8]) -> Result<()> {
        let mut kept = self.kept.lock();
        for (number, offset, length) in parts(start, bytes.len()) {
            let (now, later) = bytes.split_at(length);
            bytes = later;
            if kept.passes_by(number, offset, length) {
                self.device.write(sector(number, offset), now)?;
                continue;
            }
            let chunk = kept.chunk(&*self.device, number)?;
            let place = chunk.get_mut(offset..offset + length);
            place.ok_or(Errno::EIO)?.copy_from_slice(now);
            let sectors = offset / SECTOR * SECTOR..(offset + length).next_multiple_of(SECTOR);
            let first = sector(number, sectors.start);
            if let Err(error) = self.device.write(first, &chunk[sectors]) {
                // Whatever the device has now.
                kept.chunks.remove(&number);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Ext4Read for Bytes {
    fn read(&self, start_byte: u64, dst: &mut [u8]) -> core::result::Result<(), BoxedError> {
        self.read_bytes(start_byte, dst)
            .map_err(|error| Box::new(Failed(error)) as BoxedError)
    }
}

impl Ext4Write for Bytes {
    fn write(&self, start_byte: u64, src: &[u8]) -> core::result::Result<(), BoxedError> {
        self.write_bytes(start_byte, src)
            .map_err(|error| Box::new(Failed(error)) as BoxedError)
    }
}
