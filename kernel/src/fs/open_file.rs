//! Open file descriptions: what descriptors stand for.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{FileOperations, FileType, Inode, Metadata, OpenFlags, Path, Readiness, device};
use crate::error::{Errno, Result};
use crate::memory::{Sink, Source, UserAddress};
use crate::sync::{Mutex, WaitQueue};

/// An open file: shared by all descriptors that were duplicated from one.
#[derive(Debug)]
pub struct OpenFile {
    place: Place,
    operations: Arc<dyn FileOperations>,
    flags: AtomicU32,
    /// In bytes; in directories, whatever the file system likes.
    position: Mutex<u64>,
    /// [`Inode::losses`] that this file has told of, or that others had before it was opened.
    losses: AtomicU32,
}

#[derive(Debug)]
enum Place {
    Named(Path),
    Nameless(Arc<dyn Inode>),
}

/// From where `lseek` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The start.
    Set,
    /// The present position.
    Current,
    /// The end.
    End,
    /// The next byte that is not in a hole.
    Data,
    /// The next hole; the end is one.
    Hole,
}

/// Flags that matter when a file is opened, and are not remembered.
const OPENING: OpenFlags = OpenFlags::CREATE
    .union(OpenFlags::EXCLUSIVE)
    .union(OpenFlags::NO_CONTROLLING_TERMINAL)
    .union(OpenFlags::TRUNCATE)
    .union(OpenFlags::CLOSE_ON_EXEC);

impl OpenFile {
    /// Opens what is at a place.
    ///
    /// # Errors
    ///
    /// Those of the inode.
    pub fn open(path: Path, flags: OpenFlags) -> Result<Arc<Self>> {
        super::admit()?;
        let inode = path.inode();
        let operations: Arc<dyn FileOperations> = match inode.kind() {
            _ if flags.contains(OpenFlags::PATH) => Arc::new(OnlyAPlace),
            FileType::Directory => Arc::new(OpenDirectory),
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                device::open(kind, inode.metadata().represents, flags)?
            }
            _ => Arc::clone(inode).open(flags)?,
        };
        Ok(Self::of(Place::Named(path), operations, flags))
    }

    /// An open file without a name: a pipe's end.
    pub fn nameless(
        inode: Arc<dyn Inode>,
        operations: Arc<dyn FileOperations>,
        flags: OpenFlags,
    ) -> Arc<Self> {
        Self::of(Place::Nameless(inode), operations, flags)
    }

    fn of(place: Place, operations: Arc<dyn FileOperations>, flags: OpenFlags) -> Arc<Self> {
        let losses = match &place {
            Place::Named(path) => path.inode().losses(),
            Place::Nameless(inode) => inode.losses(),
        };
        Arc::new(Self {
            place,
            operations,
            flags: AtomicU32::new((flags - OPENING).bits()),
            position: Mutex::new(0),
            losses: AtomicU32::new(losses),
        })
    }

    /// Where it is in the tree, if it has a name.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Named(path) => Some(path),
            Place::Nameless(_) => None,
        }
    }

    /// What is open.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        match &self.place {
            Place::Named(path) => path.inode(),
            Place::Nameless(inode) => inode,
        }
    }

    /// What `fstat` tells.
    pub fn metadata(&self) -> Metadata {
        self.inode().metadata()
    }

    /// What can be done with it.
    pub fn operations(&self) -> &Arc<dyn FileOperations> {
        &self.operations
    }

    /// How it was opened, with later changes.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// `fcntl(F_SETFL)`: changes what can be changed.
    pub fn set_flags(&self, flags: OpenFlags) {
        let changeable = OpenFlags::CHANGEABLE;
        let flags = (self.flags() - changeable) | (flags & changeable);
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    fn readable(&self) -> Result<OpenFlags> {
        let flags = self.flags();
        if flags.reads() {
            Ok(flags)
        } else {
            Err(Errno::EBADF)
        }
    }

    fn writable(&self) -> Result<OpenFlags> {
        let flags = self.flags();
        if flags.writes() {
            Ok(flags)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Reads from the position on, and moves it. Zero bytes are the end.
    ///
    /// # Errors
    ///
    /// `EBADF`: not open for that. Otherwise those of [`FileOperations::read`].
    pub fn read(&self, sink: &mut Sink<'_>) -> Result<usize> {
        let flags = self.readable()?;
        if self.operations.is_stream() {
            return self.operations.read(0, sink, flags);
        }
        let mut position = self.position.lock();
        let done = self.operations.read(*position, sink, flags)?;
        *position += done as u64;
        Ok(done)
    }

    /// Writes at the position, or at the end if it was opened so, and moves the position.
    ///
    /// # Errors
    ///
    /// `EBADF`: not open for that. Otherwise those of [`FileOperations::write`].
    pub fn write(&self, source: &mut Source<'_>) -> Result<usize> {
        let flags = self.writable()?;
        if self.operations.is_stream() {
            return self.operations.write(0, source, flags);
        }
        let mut position = self.position.lock();
        if flags.contains(OpenFlags::APPEND) {
            let (end, done) = self.operations.append(source, flags)?;
            *position = end;
            return Ok(done);
        }
        let done = self.operations.write(*position, source, flags)?;
        *position += done as u64;
        Ok(done)
    }

    /// Reads from a given position (`pread`).
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read), and `ESPIPE`, `EINVAL` for a negative position.
    pub fn read_at(&self, position: i64, sink: &mut Sink<'_>) -> Result<usize> {
        let flags = self.readable()?;
        self.operations.read(self.seekable(position)?, sink, flags)
    }

    /// Writes at a given position (`pwrite`). A file that was opened to append appends.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and `ESPIPE`, `EINVAL` for a negative position.
    pub fn write_at(&self, position: i64, source: &mut Source<'_>) -> Result<usize> {
        let flags = self.writable()?;
        let position = self.seekable(position)?;
        if flags.contains(OpenFlags::APPEND) {
            return self.operations.append(source, flags).map(|(_, done)| done);
        }
        self.operations.write(position, source, flags)
    }

    fn seekable(&self, position: i64) -> Result<u64> {
        if self.operations.is_stream() {
            return Err(Errno::ESPIPE);
        }
        u64::try_from(position).map_err(|_| Errno::EINVAL)
    }

    /// Moves the position, and returns it.
    ///
    /// # Errors
    ///
    /// `EBADF`, `ESPIPE`; `EINVAL`: it would be negative, or too great; `ENXIO`: there are no more
    /// data.
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if let Some(result) = self.operations.seek(offset, whence) {
            return result;
        }
        if self.operations.is_stream() {
            return Err(Errno::ESPIPE);
        }
        let mut position = self.position.lock();
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => *position,
            Whence::End => self.operations.end(self.inode().as_ref())?,
            Whence::Data | Whence::Hole => {
                let end = self.operations.end(self.inode().as_ref())?;
                let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                if from >= end {
                    return Err(Errno::ENXIO);
                }
                *position = if whence == Whence::Data { from } else { end };
                return Ok(*position);
            }
        };
        let target = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        if target > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        *position = target;
        Ok(target)
    }

    /// `getdents64`: entries from the position on, as `struct linux_dirent64`. Zero bytes are the
    /// end.
    ///
    /// # Errors
    ///
    /// `EBADF`, `ENOTDIR`; `ENOENT`: it was removed; `EINVAL`: not even one entry fits; `EFAULT`,
    /// `EIO`.
    pub fn read_directory(&self, sink: &mut Sink<'_>) -> Result<usize> {
        self.readable()?;
        let path = self.path().ok_or(Errno::ENOTDIR)?;
        if path.inode().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if path.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        let mut position = self.position.lock();
        super::directory::list(path, &mut position, sink)
    }

    /// What can be done without waiting.
    pub fn readiness(&self) -> Readiness {
        self.operations.readiness()
    }

    /// Who waits for that to change.
    pub fn waiters(&self) -> Option<&WaitQueue> {
        self.operations.waiters()
    }

    /// `ioctl`: a device's own call.
    ///
    /// # Errors
    ///
    /// `EBADF`; `ENOTTY`: it has no such call.
    pub fn control(&self, request: u32, argument: UserAddress) -> Result<u64> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        self.operations.control(request, argument)
    }

    /// The pages to map.
    ///
    /// # Errors
    ///
    /// `ENODEV`; `EACCES`: it is not open for reading.
    pub fn mapping(&self) -> Result<Arc<mm::File>> {
        self.readable().map_err(|_| Errno::EACCES)?;
        self.operations.mapping()
    }

    /// `ftruncate`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not open for writing, or not a regular file. Otherwise those of
    /// [`Inode::truncate`].
    pub fn truncate(&self, size: u64) -> Result<()> {
        self.writable().map_err(|_| Errno::EINVAL)?;
        if self.inode().kind() != FileType::Regular {
            return Err(Errno::EINVAL);
        }
        self.inode().truncate(size)
    }

    /// `fsync`, `fdatasync`. A loss of what was written is told once to each open file that was there.
    ///
    /// # Errors
    ///
    /// `EBADF`; `EINVAL`: there is nothing to write to; `EIO`.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if self.operations.is_stream() {
            return Err(Errno::EINVAL);
        }
        let synced = self.inode().sync(data_only);
        let losses = self.inode().losses();
        if self.losses.swap(losses, Ordering::Relaxed) != losses {
            return Err(Errno::EIO);
        }
        synced
    }
}

/// A directory has entries and no bytes.
#[derive(Debug)]
struct OpenDirectory;

impl FileOperations for OpenDirectory {
    fn read(&self, _: u64, _: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        Err(Errno::EISDIR)
    }
}

/// A file that was opened with `O_PATH`: every use of it was refused before it came here.
#[derive(Debug)]
struct OnlyAPlace;

impl FileOperations for OnlyAPlace {}
