//! Files: names, what is behind them, and what is open.
//!
//! # From a name to bytes
//!
//! | type | what it is |
//! |---|---|
//! | [`Inode`] | what is behind a name: a trait that each file system implements |
//! | [`FileOperations`] | what can be done with it once it is open. For regular files the inode itself; for a pipe, a device or a terminal an object of the opener's |
//! | [`FileSystem`] | a tree of inodes |
//! | [`Dentry`] | a name in a directory, with its inode: the cache that path walks read |
//! | [`Mount`], [`Namespace`] | which file system is seen where |
//! | [`Path`] | a dentry as seen through a mount |
//! | [`Context`] | root, working directory and umask of a process, and the calls that take path names |
//! | [`OpenFile`] | an open file description: position, flags, operations |
//! | [`Descriptors`] | the table of a process: numbers for open files |
//!
//! # Locks, from the outside in
//!
//! 1. the lock of renames between directories;
//! 2. a directory's names ([`Dentry`]); a parent before its child;
//! 3. the position of an open file; the lock of an inode's writers;
//! 4. a file system's own locks;
//! 5. spin locks: caches of names, descriptor tables, attributes, the mount table. None is held
//!    while another is taken, nor while an object that may be the last of its kind is dropped.
//!
//! User memory is touched under locks of 3 at most: a page fault there takes locks of the memory
//! manager's and of 4.

pub mod attributes;
pub mod block;
mod context;
pub mod cpio;
mod dentry;
mod descriptors;
pub mod devfs;
pub mod device;
mod directory;
pub mod ext4;
mod flags;
pub mod initramfs;
mod inode;
mod metadata;
mod mount;
mod open_file;
pub mod page_cache;
pub mod pipe;
mod poll;
pub mod pseudo;
pub mod tmpfs;
pub mod tty;
mod walk;

pub use self::context::Context;
pub use self::dentry::Dentry;
pub use self::descriptors::Descriptors;
pub use self::flags::{OpenFlags, RenameFlags};
pub use self::inode::{
    AttributeChange, DirectoryEntry, FileOperations, FileSystem, FileSystemStatistics, Inode, Link,
    NewInode, Readiness,
};
pub use self::metadata::{DeviceNumber, FileType, Metadata, Timestamp, now};
pub use self::mount::{Mount, Namespace};
pub use self::open_file::{OpenFile, Whence};
pub use self::poll::{PollEntry, poll};
pub use self::walk::{Follow, Path};

use crate::error::{Errno, Result};

/// The greatest length of one component of a path (`NAME_MAX`), in bytes.
pub const NAME_MAX: usize = 255;
/// The greatest length of a path with its terminating zero (`PATH_MAX`), in bytes.
pub const PATH_MAX: usize = 4096;
/// How many symbolic links one walk follows before it gives up with `ELOOP`.
pub const LINKS_MAX: u32 = 40;

/// Asks for the heap memory of one new object on behalf of a process, so that processes cannot
/// take what the kernel needs for itself.
///
/// # Errors
///
/// `ENOMEM`.
fn admit() -> Result<()> {
    use mm::Machine as _;
    if crate::memory::manager()
        .machine()
        .admit(mm::Allocation::Heap)
    {
        Ok(())
    } else {
        Err(Errno::ENOMEM)
    }
}

#[cfg(test)]
mod tests;
