//! Devices that keep blocks, and their names: `/dev/vda` and so on.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Debug};

use super::device::{self, Device};
use super::{DeviceNumber, FileOperations, FileType, Inode, OpenFlags};
use crate::error::{Errno, Result};
use crate::memory::{Sink, Source, UserAddress};
use crate::sync::{Mutex, SpinLock};

/// The unit of block devices, in bytes.
pub const SECTOR: usize = 512;

/// The number of virtio disks is given out when Linux boots; this is the first of those.
const MAJOR: u32 = 254;
/// Numbers of each disk: itself, and partitions.
const MINORS: u32 = 16;
/// `vda` to `vdz`.
const MOST: usize = 26;

/// Bytes that the files below move at a time.
const CHUNK: usize = 8 * SECTOR;

/// `ioctl` of block devices. Linux, `linux/fs.h`.
const BLKGETSIZE: u32 = 0x1260;
const BLKFLSBUF: u32 = 0x1261;
const BLKSSZGET: u32 = 0x1268;
const BLKGETSIZE64: u32 = 0x8008_1272;

/// A device that keeps sectors. Lengths are multiples of [`SECTOR`].
pub trait BlockDevice: Debug + Send + Sync {
    /// How many sectors it has.
    fn sectors(&self) -> u64;

    /// Reads from a sector on; waits until it is done.
    ///
    /// # Errors
    ///
    /// `EIO`: it failed, or the end comes before.
    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()>;

    /// Writes from a sector on; waits until the device has it.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); `EROFS`.
    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()>;

    /// Makes everything that was written survive a loss of power.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn flush(&self) -> Result<()>;

    /// Whether it takes no writes.
    fn is_read_only(&self) -> bool {
        false
    }
}

/// A block device with a name.
pub struct Disk {
    name: String,
    number: DeviceNumber,
    device: Arc<dyn BlockDevice>,
    /// Keeps those apart who change parts of sectors.
    change: Mutex<()>,
}

static DISKS: SpinLock<Vec<Arc<Disk>>> = SpinLock::new(Vec::new());

/// All disks, in the order of their names.
pub fn disks() -> Vec<Arc<Disk>> {
    DISKS.lock().clone()
}

/// The disk with this number.
pub fn find(number: DeviceNumber) -> Option<Arc<Disk>> {
    disks().into_iter().find(|disk| disk.number == number)
}

/// Names a device, and makes it one that can be opened. Beyond 26 of them there are no names.
pub fn add(device: Arc<dyn BlockDevice>) {
    let index = DISKS.lock().len();
    if index >= MOST {
        log::error!("there are more than {MOST} disks");
        return;
    }
    let mut name = String::from("vd");
    name.push(char::from(b'a' + index as u8));
    let number = DeviceNumber::new(MAJOR, index as u32 * MINORS);
    let disk = Arc::new(Disk {
        name,
        number,
        device,
        change: Mutex::new(()),
    });
    let sectors = disk.sectors();
    log::info!(
        "virtio_blk: [{}] {sectors} {SECTOR}-byte logical blocks ({} KiB)",
        disk.name,
        sectors / 2
    );
    let opener = Arc::new(Opener(Arc::clone(&disk)));
    if device::register(FileType::BlockDevice, number, opener).is_ok() {
        DISKS.lock().push(disk);
    }
}

impl Debug for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Disk {
    /// `vda` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }
}

impl BlockDevice for Disk {
    fn sectors(&self) -> u64 {
        self.device.sectors()
    }

    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()> {
        self.device.read(sector, into)
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        self.device.write(sector, bytes)
    }

    fn flush(&self) -> Result<()> {
        self.device.flush()
    }

    fn is_read_only(&self) -> bool {
        self.device.is_read_only()
    }
}

#[derive(Debug)]
struct Opener(Arc<Disk>);

impl Device for Opener {
    fn open(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        if flags.writes() && self.0.is_read_only() {
            return Err(Errno::EACCES);
        }
        Ok(Arc::clone(&self.0) as Arc<dyn FileOperations>)
    }
}

impl Disk {
    fn bytes(&self) -> u64 {
        self.sectors() * SECTOR as u64
    }

    /// Goes through up to `left` bytes from `position` on, in chunks. `step` gets the chunk's first
    /// sector, its sectors' bytes, and the range of those that is meant.
    fn in_chunks(
        &self,
        position: u64,
        left: usize,
        mut step: impl FnMut(u64, &mut [u8], core::ops::Range<usize>) -> Result<()>,
    ) -> Result<usize> {
        let left = left.min(self.bytes().saturating_sub(position) as usize);
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < left {
            let at = position + done as u64;
            let start = (at % SECTOR as u64) as usize;
            let length = (left - done).min(CHUNK - start);
            let sectors = &mut chunk[..(start + length).next_multiple_of(SECTOR)];
            match step(at / SECTOR as u64, sectors, start..start + length) {
                Ok(()) => done += length,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl FileOperations for Disk {
    fn read(&self, position: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        self.in_chunks(position, sink.left(), |sector, bytes, range| {
            self.device.read(sector, bytes)?;
            sink.put(&bytes[range]).map_err(|stopped| stopped.errno())
        })
    }

    fn write(&self, position: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        if source.left() > 0 && position >= self.bytes() {
            return Err(Errno::ENOSPC);
        }
        let _alone = self.change.lock();
        let done = self.in_chunks(position, source.left(), |sector, bytes, range| {
            if range != (0..bytes.len()) {
                self.device.read(sector, bytes)?;
            }
            source
                .take(&mut bytes[range])
                .map_err(|stopped| stopped.errno())?;
            self.device.write(sector, bytes)
        })?;
        // There is nothing in between that a later `fsync` could find.
        self.device.flush()?;
        Ok(done)
    }

    fn end(&self, _: &dyn Inode) -> Result<u64> {
        Ok(self.bytes())
    }

    fn control(&self, request: u32, argument: UserAddress) -> Result<u64> {
        match request {
            BLKGETSIZE => argument.write(&self.sectors().to_le_bytes())?,
            BLKGETSIZE64 => argument.write(&self.bytes().to_le_bytes())?,
            BLKSSZGET => argument.write(&(SECTOR as u32).to_le_bytes())?,
            BLKFLSBUF => self.device.flush()?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
