//! The bytes of regular files: from the device to the page cache and back.

use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::Ordering;

use ext4plus::error::Ext4Error;
use ext4plus::file;
use ext4plus::inode::Inode as DiskInode;
use mm::{PAGE_SIZE, Poisoned, StoreError, UserFrame};

use super::inode::{DiskResult, Node, set_time};
use super::volume::Disk;
use crate::arch::frame;
use crate::error::{Errno, Result};
use crate::fs::block::SECTOR;
use crate::fs::page_cache::Pages;
use crate::fs::{FileOperations, Inode, OpenFlags};
use crate::memory::{Cause, PageStore, Sink, Source, store};

/// What `O_DIRECT` demands.
fn check_direct(position: u64, is_aligned: bool) -> Result<()> {
    if is_aligned && position.is_multiple_of(SECTOR as u64) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

impl Node {
    /// Writes what is not on the device yet. What has no name is not worth it.
    pub(super) fn write_back(&self) -> Result<()> {
        let Some(pages) = self.pages.as_ref().filter(|_| !self.is_orphan()) else {
            return Ok(());
        };
        pages.sync()?;
        if self.has_new_times.swap(false, Ordering::Relaxed) {
            self.with(|disk, inode| inode.write(disk))
                .inspect_err(|_| self.has_new_times.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// Fills what the last block has beyond a new end with zeros, so that they are there if the
    /// file grows again.
    fn zero_tail(&self, disk: &Disk, inode: &mut DiskInode, size: u64) -> DiskResult<()> {
        let end = size.next_multiple_of(self.volume.block_size());
        let zeros = end.min(inode.size_in_bytes()).saturating_sub(size);
        if zeros > 0 {
            file::write_at(disk, inode, &vec![0; zeros as usize], size)?;
        }
        Ok(())
    }

    /// Reads what the device has of a file; beyond its end there is nothing.
    fn read_device(&self, start: u64, into: &mut [u8]) -> Result<()> {
        self.with(|disk, inode| {
            let mut done = 0;
            while done < into.len() {
                match file::read_at(disk, inode, &mut into[done..], start + done as u64)? {
                    0 => break,
                    more => done += more,
                }
            }
            Ok(())
        })
    }

    /// Reads past the page cache, once the device has what is in there.
    fn read_direct(&self, position: u64, sink: &mut Sink<'_>) -> Result<usize> {
        self.pages()?.sync()?;
        let size = self.pages()?.size();
        let mut page = vec![0; PAGE_SIZE];
        let mut done = 0;
        while sink.left() > 0 && position + (done as u64) < size {
            let at = position + done as u64;
            let length = (size - at).min(sink.left().min(PAGE_SIZE) as u64) as usize;
            page.fill(0);
            let read = self.read_device(at, &mut page[..length]);
            let put = read.and_then(|()| {
                let put = sink.put(&page[..length]);
                put.inspect_err(|stopped| done += stopped.done)
                    .map_err(|stopped| stopped.errno())
            });
            match put {
                Ok(()) => done += length,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Whether a file can be so long.
    pub(super) fn check_end(&self, position: u64, length: usize) -> Result<()> {
        match position.checked_add(length as u64) {
            Some(end) if end <= self.volume.greatest_size() => Ok(()),
            _ => Err(Errno::EFBIG),
        }
    }

    pub(super) fn after_write(&self, flags: OpenFlags) -> Result<()> {
        set_time(&mut self.disk.lock());
        self.has_new_times.store(true, Ordering::Relaxed);
        if flags.intersects(OpenFlags::DATA_SYNC | OpenFlags::SYNC | OpenFlags::DIRECT) {
            self.sync(true)?;
        }
        Ok(())
    }
}

impl FileOperations for Node {
    fn read(&self, position: u64, sink: &mut Sink<'_>, flags: OpenFlags) -> Result<usize> {
        if flags.contains(OpenFlags::DIRECT) {
            check_direct(position, sink.is_aligned(SECTOR))?;
            return self.read_direct(position, sink);
        }
        let length = sink.left();
        self.pages()?.read(position, sink, length)
    }

    fn write(&self, position: u64, source: &mut Source<'_>, flags: OpenFlags) -> Result<usize> {
        if flags.contains(OpenFlags::DIRECT) {
            check_direct(position, source.is_aligned(SECTOR))?;
        }
        let length = source.left();
        self.check_end(position, length)?;
        let done = self.pages()?.write(position, source, length)?;
        self.after_write(flags)?;
        Ok(done)
    }

    fn append(&self, source: &mut Source<'_>, flags: OpenFlags) -> Result<(u64, usize)> {
        if flags.contains(OpenFlags::DIRECT) {
            check_direct(self.pages()?.size(), source.is_aligned(SECTOR))?;
        }
        self.check_end(self.pages()?.size(), source.left())?;
        let appended = self.pages()?.append(source)?;
        self.after_write(flags)?;
        Ok(appended)
    }

    fn mapping(&self) -> Result<Arc<mm::File>> {
        let pages = self.pages().map_err(|_| Errno::ENODEV)?;
        Ok(Arc::clone(pages.file()))
    }
}

impl PageStore for Node {
    fn read_page(&self, index: u32, into: &UserFrame) -> core::result::Result<(), mm::Errno> {
        let mut page = vec![0; PAGE_SIZE];
        self.read_device(u64::from(index) * PAGE_SIZE as u64, &mut page)
            .map_err(|_| mm::Errno::EIO)?;
        frame::write(into, 0, &page);
        Ok(())
    }

    fn write_page(&self, index: u32, from: &UserFrame) -> core::result::Result<(), StoreError> {
        let mut page = vec![0; PAGE_SIZE];
        frame::read(from, 0, &mut page).map_err(|stopped| match stopped.cause {
            Cause::Frame(pfn) => StoreError::Poisoned(Poisoned {
                pfn,
                done: stopped.done,
            }),
            Cause::Fault | Cause::UserMemory => StoreError::Io,
        })?;
        let start = u64::from(index) * PAGE_SIZE as u64;
        let size = self.pages.as_ref().map_or(0, Pages::size);
        let length = size.saturating_sub(start).min(PAGE_SIZE as u64) as usize;
        let written = self.with(|disk, inode| {
            let size = inode.size_in_bytes().max(start + length as u64);
            // One block at a time: for several the format's crate wants neighbours, and where there
            // are none it searches for ever.
            let block = self.volume.block_size().min(PAGE_SIZE as u64) as usize;
            for (number, bytes) in page[..length].chunks(block).enumerate() {
                let at = start + (number * block) as u64;
                if file::write_at(disk, inode, bytes, at)? < bytes.len() {
                    return Err(Ext4Error::NoSpace);
                }
            }
            // The format's crate makes a file end with the block that it wrote if nothing but a
            // hole follows.
            if inode.size_in_bytes() != size {
                inode.set_size_in_bytes(size);
                inode.write(disk)?;
            }
            Ok(())
        });
        written.map_err(|_| StoreError::Io)
    }

    fn set_size(&self, size: u64) -> core::result::Result<(), mm::Errno> {
        self.with(|disk, inode| {
            self.zero_tail(disk, inode, size)?;
            file::truncate(disk, inode, size)?;
            inode.write(disk)
        })
        .map_err(|_| mm::Errno::EIO)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(pages) = &self.pages {
            store::unregister(pages.file().id());
        }
    }
}
