//! A volume: the format's side of the file system, and the inodes that are in use.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ext4plus::error::Ext4Error;
use ext4plus::inode::Inode as DiskInode;
use ext4plus::{Ext4Write, IncompatibleFeatures};
use mm::PAGE_SIZE;

use super::MAGIC;
use super::check::{Sound, check};
use super::device::Bytes;
use super::inode::Node;
use crate::error::{Errno, Result};
use crate::fs::block::BlockDevice;
use crate::fs::{DeviceNumber, FileSystemStatistics};
use crate::sync::{Mutex, SpinLock};

/// From so many inodes on, those that nobody uses are forgotten.
const FORGET_FROM: usize = 1024;

/// The format's name for a file system.
pub(super) type Disk = ext4plus::Ext4;

/// A volume.
pub(super) struct Volume {
    disk: Mutex<Disk>,
    device: Arc<dyn BlockDevice>,
    /// In bytes.
    block_size: u64,
    read_only: bool,
    number: DeviceNumber,
    nodes: SpinLock<BTreeMap<u32, Arc<Node>>>,
}

impl fmt::Debug for Volume {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Volume({:?})", self.device)
    }
}

impl Volume {
    pub(super) fn open(device: Arc<dyn BlockDevice>, number: DeviceNumber) -> Result<Arc<Self>> {
        let bytes = Bytes::new(Arc::clone(&device));
        let sound = check(&bytes, device.sectors()).map_err(|refusal| {
            log::error!("EXT4-fs ({device:?}): {refusal}");
            refusal.errno
        })?;
        let sound = match device.is_read_only() {
            true => Sound {
                read_only: Some("its device takes no writes"),
                ..sound
            },
            false => sound,
        };
        let writer = sound.read_only.is_none().then(|| Box::new(bytes.clone()));
        let disk = Disk::load_with_writer(
            Box::new(bytes),
            writer.map(|writer| writer as Box<dyn Ext4Write>),
        );
        let disk = disk.map_err(|error| {
            log::error!("EXT4-fs ({device:?}): {error}");
            errno(&error)
        })?;
        let incompatible = disk.superblock().features().incompatible();
        let reason = match sound.read_only {
            None if incompatible.contains(IncompatibleFeatures::RECOVERY) => {
                Some("its journal must be recovered, which this kernel cannot")
            }
            reason => reason,
        };
        if let Some(reason) = reason {
            log::warn!("EXT4-fs ({device:?}): mounted read-only: {reason}");
        }
        Ok(Arc::new(Self {
            disk: Mutex::new(disk),
            block_size: sound.block_size,
            read_only: reason.is_some(),
            number,
            device,
            nodes: SpinLock::new(BTreeMap::new()),
        }))
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What `stat` tells.
    pub(super) fn number(&self) -> DeviceNumber {
        self.number
    }

    /// In bytes.
    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The greatest size of a file: its blocks have numbers of 32 bits, and pages too.
    pub(super) fn greatest_size(&self) -> u64 {
        self.block_size.min(PAGE_SIZE as u64) * u64::from(u32::MAX)
    }

    /// Does something with the format.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&Disk) -> core::result::Result<T, Ext4Error>,
    ) -> Result<T> {
        act(&self.disk.lock()).map_err(|error| errno(&error))
    }

    pub(super) fn root(self: &Arc<Self>) -> Result<Arc<Node>> {
        let inode = self.with(|disk| disk.read_root_inode())?;
        self.node(inode)
    }

    /// The inode in use that `inode` was read for.
    pub(super) fn node(self: &Arc<Self>, inode: DiskInode) -> Result<Arc<Node>> {
        let number = inode.index.get();
        if let Some(node) = self.nodes.lock().get(&number) {
            return Ok(Arc::clone(node));
        }
        self.forget_unused();
        let fresh = Node::new(self, inode)?;
        let mut nodes = self.nodes.lock();
        let node = Arc::clone(nodes.entry(number).or_insert_with(|| Arc::clone(&fresh)));
        drop(nodes);
        Ok(node)
    }

    /// Lets go of inodes that nobody uses: of all that lost their last name, and if there are
    /// many, of the others.
    pub(super) fn forget_unused(&self) {
        let all = self.nodes.lock().len() >= FORGET_FROM;
        let unused: Vec<_> = {
            let mut nodes = self.nodes.lock();
            let unused = |node: &Arc<Node>| {
                Arc::strong_count(node) == 1 && !node.is_mapped() && (all || node.is_orphan())
            };
            nodes
                .extract_if(.., |_, node| unused(node))
                .map(|(_, node)| node)
                .collect()
        };
        for node in unused {
            // An error leaves blocks that nobody uses on the device; the next check finds them.
            let _ = node.finish();
        }
    }

    pub(super) fn sync(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.forget_unused();
        let nodes: Vec<_> = self.nodes.lock().values().cloned().collect();
        let mut result = Ok(());
        for node in nodes {
            result = result.and(node.write_back());
        }
        result.and(self.with(|disk| disk.superblock().write(disk)))?;
        self.flush()
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.device.flush()
    }

    /// Writes everything and forgets all inodes.
    pub(super) fn close(&self) {
        // Whoever wanted to know of an error has called `sync` before.
        let _ = self.sync();
        let nodes = core::mem::take(&mut *self.nodes.lock());
        drop(nodes);
    }

    pub(super) fn statistics(&self) -> FileSystemStatistics {
        let disk = self.disk.lock();
        let superblock = disk.superblock();
        FileSystemStatistics {
            magic: MAGIC,
            block_size: self.block_size,
            blocks: superblock.blocks_count(),
            free: superblock.free_blocks_count(),
            inodes: u64::from(superblock.inodes_per_block_group().get())
                * u64::from(superblock.num_block_groups()),
            free_inodes: u64::from(superblock.free_inodes_count()),
        }
    }
}

/// Linux's number for an error of the format.
fn errno(error: &Ext4Error) -> Errno {
    match error {
        Ext4Error::NotFound => Errno::ENOENT,
        Ext4Error::NotADirectory => Errno::ENOTDIR,
        Ext4Error::IsADirectory => Errno::EISDIR,
        Ext4Error::AlreadyExists => Errno::EEXIST,
        Ext4Error::NoSpace => Errno::ENOSPC,
        Ext4Error::Readonly => Errno::EROFS,
        Ext4Error::FileTooLarge => Errno::EFBIG,
        Ext4Error::NotASymlink | Ext4Error::MalformedPath => Errno::EINVAL,
        Ext4Error::PathTooLong => Errno::ENAMETOOLONG,
        Ext4Error::UnsupportedOperation(_) | Ext4Error::Incompatible(_) | Ext4Error::Encrypted => {
            Errno::EOPNOTSUPP
        }
        Ext4Error::Corrupt(_) => Errno::EUCLEAN,
        _ => Errno::EIO,
    }
}
