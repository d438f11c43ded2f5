//! What a file system must be able to do.
//!
//! Every operation has a default that refuses with the number Linux has for it, so a kind of
//! file says only what it can do. Names that arrive here are not empty, not `.` or `..`, have no
//! slash and at most [`NAME_MAX`](super::NAME_MAX) bytes. Changes of one directory's names come
//! one at a time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Debug;

use bitflags::bitflags;

use super::{DeviceNumber, FileType, Metadata, OpenFlags, Path, Timestamp, Whence};
use crate::error::{Errno, Result};
use crate::memory::{Sink, Source, UserAddress};
use crate::sync::WaitQueue;

/// A kind of thing to make in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewInode<'a> {
    /// An empty file.
    Regular,
    /// An empty directory.
    Directory,
    /// A link to this path.
    SymbolicLink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

/// Where a symbolic link leads.
#[derive(Debug)]
pub enum Link {
    /// To this path, from the link's directory.
    Text(Vec<u8>),
    /// To this very place, whatever its name is: the links in `/proc/self/fd`.
    Place(Path),
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its inode's number.
    pub inode: u64,
    /// What it is.
    pub kind: FileType,
    /// Where to go on after this one: greater than this entry's own position.
    pub next: u64,
}

/// What `chmod`, `chown` and `utimensat` change: what is `Some`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// The low 12 bits of the mode.
    pub permissions: Option<u16>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The time of the last read.
    pub accessed: Option<Timestamp>,
    /// The time of the last change of contents.
    pub modified: Option<Timestamp>,
}

/// What is behind a name.
pub trait Inode: Any + Debug + Send + Sync {
    /// What `stat` tells.
    fn metadata(&self) -> Metadata;

    /// What kind of file it is. It never changes.
    fn kind(&self) -> FileType;

    /// What to do with it once it is open. `flags` are the opener's.
    ///
    /// # Errors
    ///
    /// `ENXIO`: there is nothing behind the name.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ENXIO)
    }

    /// Changes owner, permissions or times.
    ///
    /// # Errors
    ///
    /// `EPERM`: the file system cannot.
    fn change_attributes(&self, _change: AttributeChange) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Makes a regular file `size` bytes long.
    ///
    /// # Errors
    ///
    /// `EISDIR`, `EINVAL`: it is not a regular file. `EFBIG`, `ENOSPC`, `EIO`.
    fn truncate(&self, _size: u64) -> Result<()> {
        Err(if self.kind() == FileType::Directory {
            Errno::EISDIR
        } else {
            Errno::EINVAL
        })
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not one.
    fn link_target(&self) -> Result<Link> {
        Err(Errno::EINVAL)
    }

    /// Whether names of this directory come and go without the kernel asking for it (as those of
    /// `/proc` do), so that none is remembered.
    fn is_volatile(&self) -> bool {
        false
    }

    /// What has this name in this directory.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nothing. `EIO`.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOTDIR)
    }

    /// Calls `emit` for the entries from position `from`, until it returns `false`. Positions 0
    /// and 1 are `.` and `..`, which are not the file system's business: it starts at 2.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn list(&self, _from: u64, _emit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// Makes something new, with these permissions. The name is not taken.
    ///
    /// # Errors
    ///
    /// `EPERM`: the file system has no such things. `ENOSPC`, `ENOMEM`, `EIO`, `EROFS`.
    fn create(
        &self,
        _name: &[u8],
        _what: NewInode<'_>,
        _permissions: u16,
    ) -> Result<Arc<dyn Inode>> {
        Err(Errno::EPERM)
    }

    /// Gives `target`, of the same file system and no directory, another name. It is not taken.
    ///
    /// # Errors
    ///
    /// `EPERM`: the file system cannot. `EMLINK`, `ENOSPC`, `ENOMEM`, `EIO`, `EROFS`.
    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes the name of something that is no directory.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EIO`, `EROFS`.
    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `EPERM`, `EIO`, `EROFS`.
    fn remove_directory(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Moves `name` to `new_name` in `to`, a directory of the same file system. What has the new
    /// name is removed; it is of the same kind, and if a directory, must be empty.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `EPERM`, `ENOSPC`, `EIO`, `EROFS`.
    fn rename(&self, _name: &[u8], _to: &Arc<dyn Inode>, _new_name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Writes what is not yet on the device; with `data_only`, as far as needed to read the
    /// contents back.
    ///
    /// # Errors
    ///
    /// `EIO`: now, or at a write-back since the last call.
    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    /// How many times bytes that had been written were found lost. Each open file tells of each
    /// change of it once.
    fn losses(&self) -> u32 {
        0
    }
}

bitflags! {
    /// What can be done without waiting. Values: those of `poll`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Readiness: u16 {
        /// A read would not wait.
        const IN = 0x1;
        /// There is urgent input.
        const PRIORITY = 0x2;
        /// A write would not wait.
        const OUT = 0x4;
        /// Broken: a pipe without readers.
        const ERROR = 0x8;
        /// Hung up: a pipe without writers.
        const HANG_UP = 0x10;
        /// Not an open file.
        const INVALID = 0x20;
        /// As `IN`.
        const READ_NORMAL = 0x40;
        /// As `OUT`.
        const WRITE_NORMAL = 0x100;
    }
}

impl Readiness {
    /// Ready to be read.
    pub const READABLE: Self = Self::IN.union(Self::READ_NORMAL);
    /// Ready to be written.
    pub const WRITABLE: Self = Self::OUT.union(Self::WRITE_NORMAL);
}

/// What can be done with a file that is open.
///
/// A transfer that stops in the middle returns how many bytes were done; an error means none.
pub trait FileOperations: Any + Debug + Send + Sync {
    /// Reads from `position`, which streams ignore, until `sink` is full or there is no more.
    /// Zero bytes are the end of the file.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: it would wait, and `flags` say no. `EINTR`: a signal came first. `EISDIR`,
    /// `EINVAL`: this cannot be read. `EFAULT`, `EIO`: nothing could be transferred.
    fn read(&self, _position: u64, _sink: &mut Sink<'_>, _flags: OpenFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes at `position`, which streams ignore.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read), and `EPIPE`, `ENOSPC`, `EFBIG`.
    fn write(&self, _position: u64, _source: &mut Source<'_>, _flags: OpenFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes at the end, and returns where the end is then, and how many bytes were written.
    /// Nobody else's bytes come between.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn append(&self, source: &mut Source<'_>, flags: OpenFlags) -> Result<(u64, usize)> {
        self.write(0, source, flags).map(|done| (0, done))
    }

    /// Whether it has no positions: `lseek` and `pread` give `ESPIPE`.
    fn is_stream(&self) -> bool {
        false
    }

    /// `lseek` of a reader that has a place of its own, and no position. `None`: it has none.
    fn seek(&self, _offset: i64, _whence: Whence) -> Option<Result<u64>> {
        None
    }

    /// Where its bytes end, for `lseek`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has no end.
    fn end(&self, inode: &dyn Inode) -> Result<u64> {
        Ok(inode.metadata().size)
    }

    /// What can be done without waiting.
    fn readiness(&self) -> Readiness {
        Readiness::READABLE | Readiness::WRITABLE
    }

    /// Who waits for that to change. `None`: it never does.
    fn waiters(&self) -> Option<&WaitQueue> {
        None
    }

    /// A device's own call.
    ///
    /// # Errors
    ///
    /// `ENOTTY`: it has no such call.
    fn control(&self, _request: u32, _argument: UserAddress) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    /// Whether a mapping is of zeros that belong to nobody else, and not of this file's pages.
    fn maps_as_anonymous(&self) -> bool {
        false
    }

    /// The pages to map.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it cannot be mapped.
    fn mapping(&self) -> Result<Arc<mm::File>> {
        Err(Errno::ENODEV)
    }
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystemStatistics {
    /// `f_type`: what kind it is.
    pub magic: u64,
    /// In bytes: the unit of what follows.
    pub block_size: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free ones.
    pub free: u64,
    /// All inodes.
    pub inodes: u64,
    /// Free ones.
    pub free_inodes: u64,
}

/// A tree of inodes.
pub trait FileSystem: Any + Debug + Send + Sync {
    /// As in `/proc/mounts`.
    fn name(&self) -> &'static str;

    /// Its root directory.
    fn root(&self) -> Arc<dyn Inode>;

    /// What `statfs` tells.
    fn statistics(&self) -> FileSystemStatistics;

    /// Writes what is not yet on the device.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Whether nothing in it can be changed, however it is mounted.
    fn is_read_only(&self) -> bool {
        false
    }
}
