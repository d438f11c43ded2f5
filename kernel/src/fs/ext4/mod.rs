//! ext4, by the crate `ext4plus`, behind the page cache.
//!
//! The crate keeps the format: superblock, bitmaps, inodes, extents, directories. Here are names,
//! pages and lifetimes: an inode that is in use exists once (`volume`), and its bytes are
//! pages of the memory manager's, which come and go by [`PageStore`](crate::memory::PageStore).
//!
//! | module | what it does |
//! |---|---|
//! | `check` | refuses volumes on which the crate would panic or hang |
//! | `device` | the device as bytes, with what was read lately |
//! | `volume` | the inodes in use |
//! | `inode` | names and attributes |
//! | `data` | the bytes of files |
//!
//! Of the crates that write ext4 without C it is the one that descends from `ext4-view`, which was
//! made for hostile volumes, and is small. Groups whose bitmaps `mkfs.ext4` left for later make a
//! volume read-only. It has no journal
//! (replays are read, nothing is logged), so a loss of power costs what was being changed.
//!
//! One lock makes everything on a volume one at a time; it is not held while user memory is
//! touched. Extended attributes and device nodes are not there, and a directory stays below its
//! parent.

mod check;
mod data;
mod device;
mod inode;
mod volume;

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use self::volume::Volume;
use super::block::{BlockDevice, Disk};
use super::{DeviceNumber, FileSystem, FileSystemStatistics, Inode};
use crate::error::Result;
use crate::sync::Mutex;

/// `f_type`: `EXT4_SUPER_MAGIC`.
const MAGIC: u64 = 0xef53;

/// An ext4 file system on a device.
#[derive(Debug)]
pub struct Ext4 {
    volume: Arc<Volume>,
    root: Arc<dyn Inode>,
}

/// The volumes that are mounted, by the number of their disk. Held while one is being mounted.
static MOUNTED: Mutex<BTreeMap<DeviceNumber, Weak<Ext4>>> = Mutex::new(BTreeMap::new());

impl Ext4 {
    /// The file system on a disk: the same one, however often it is mounted.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn on(disk: &Arc<Disk>) -> Result<Arc<Self>> {
        let mut mounted = MOUNTED.lock();
        if let Some(volume) = mounted.get(&disk.number()).and_then(Weak::upgrade) {
            return Ok(volume);
        }
        let volume = Self::open(Arc::clone(disk) as Arc<dyn BlockDevice>, disk.number())?;
        mounted.insert(disk.number(), Arc::downgrade(&volume));
        Ok(volume)
    }

    /// The file system on a device. `number` is what `stat` tells of it.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none, or not one that this kernel knows; `EOPNOTSUPP`: it has features
    /// that this kernel does not know; `EUCLEAN`: it is damaged; `EIO`. The reason is in the log.
    pub fn open(device: Arc<dyn BlockDevice>, number: DeviceNumber) -> Result<Arc<Self>> {
        let volume = Volume::open(device, number)?;
        let root = volume.root()?;
        Ok(Arc::new(Self { volume, root }))
    }
}

impl FileSystem for Ext4 {
    fn name(&self) -> &'static str {
        "ext4"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root)
    }

    fn statistics(&self) -> FileSystemStatistics {
        self.volume.statistics()
    }

    fn sync(&self) -> Result<()> {
        self.volume.sync()
    }

    fn is_read_only(&self) -> bool {
        self.volume.is_read_only()
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Inodes keep the volume, and the volume its inodes: here that ends.
        self.volume.close();
    }
}

#[cfg(test)]
mod tests;
