//! Files in memory.
//!
//! Contents are pages of the memory manager's, so they can be mapped, and a page whose memory
//! fails is lost by itself. Directories are maps in kernel memory.

mod directory;
mod inode;

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;

use self::inode::Node;
use super::{FileSystem, FileSystemStatistics, Inode, NewInode, OpenFile, OpenFlags};
use crate::error::{Errno, Result};
use crate::memory::manager;

/// `f_type`: `TMPFS_MAGIC`.
const MAGIC: u64 = 0x0102_1994;

/// A file system in memory.
#[derive(Debug)]
pub struct Tmpfs {
    name: &'static str,
    root: Arc<Node>,
    inodes: AtomicU64,
    limit: u64,
    next_inode: AtomicU64,
}

impl Tmpfs {
    /// An empty one with at most `limit` inodes. `name` is its name in `/proc/mounts`.
    pub fn new(name: &'static str, limit: u64) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            name,
            root: Node::directory(this.clone(), 1, 0o755),
            inodes: AtomicU64::new(1),
            limit,
            next_inode: AtomicU64::new(2),
        })
    }

    /// Makes an inode that has no name yet.
    fn make(self: &Arc<Self>, what: NewInode<'_>, permissions: u16) -> Result<Arc<Node>> {
        let grow = |count| (count < self.limit).then_some(count + 1);
        self.inodes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .map_err(|_| Errno::ENOSPC)?;
        let number = self.next_inode.fetch_add(1, Ordering::Relaxed);
        let made = Node::new(Arc::downgrade(self), number, what, permissions);
        if made.is_err() {
            self.forget_inode();
        }
        made
    }

    fn forget_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A new regular file without a name, open for reading and writing (`memfd_create`). It is in a
/// file system that is mounted nowhere.
///
/// # Errors
///
/// `ENOMEM`.
pub fn nameless_file() -> Result<Arc<OpenFile>> {
    static FILES: Once<Arc<Tmpfs>> = Once::new();
    let files = FILES.call_once(|| Tmpfs::new("tmpfs", u64::MAX));
    super::admit()?;
    let inode: Arc<dyn Inode> = files.make(NewInode::Regular, 0o777)?;
    let operations = Arc::clone(&inode).open(OpenFlags::READ_WRITE)?;
    Ok(OpenFile::nameless(inode, operations, OpenFlags::READ_WRITE))
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn statistics(&self) -> FileSystemStatistics {
        let free = manager().free_frames() as u64;
        FileSystemStatistics {
            magic: MAGIC,
            block_size: mm::PAGE_SIZE as u64,
            blocks: free,
            free,
            inodes: self.limit,
            free_inodes: self.limit - self.inodes.load(Ordering::Relaxed).min(self.limit),
        }
    }
}
