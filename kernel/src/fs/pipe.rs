//! Pipes, with and without a name.
//!
//! The bytes in a pipe are a user's, so they are in frames of the memory manager's: a pipe is a
//! file in memory that is written at one end and read at the other, around and around. Memory
//! that fails in there costs the bytes of one page, and the reader is told.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use mm::{FileKind, PAGE_SIZE};

use super::attributes::Attributes;
use super::page_cache::Pages;
use super::{
    AttributeChange, DeviceNumber, FileOperations, FileType, Inode, Metadata, OpenFile, OpenFlags,
    Readiness,
};
use crate::error::{Errno, Result};
use crate::memory::{Sink, Source, UserAddress};
use crate::sync::{Mutex, WaitQueue};

/// How many bytes a pipe holds.
pub const CAPACITY: usize = 16 * PAGE_SIZE;
/// So many bytes at most are written in one piece (`PIPE_BUF`).
pub const ATOMIC: usize = PAGE_SIZE;

/// `ioctl`: how many bytes can be read.
const FIONREAD: u32 = 0x541b;

/// A pipe.
#[derive(Debug)]
pub struct Pipe {
    ring: Mutex<Ring>,
    /// How many bytes are in the ring, for those who only want to know.
    length: AtomicUsize,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How many ends were ever opened for reading and for writing.
    opened: (AtomicU32, AtomicU32),
    /// Whoever waits for bytes, room, or the other end.
    queue: WaitQueue,
}

/// The bytes: `length` of them, from `start` on.
#[derive(Debug)]
struct Ring {
    /// Made with the first byte.
    pages: Option<Pages>,
    start: usize,
    length: usize,
    /// A page of it was lost: it is emptied when nothing is in it.
    damaged: bool,
}

impl Ring {
    fn pages(&mut self) -> Result<&mut Pages> {
        match &mut self.pages {
            Some(pages) => Ok(pages),
            none => Ok(none.insert(Pages::new(FileKind::Memory, 0)?)),
        }
    }

    /// Takes bytes out: at least one, if there are any and no error.
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<usize> {
        let wanted = self.length.min(sink.left());
        let mut done = 0;
        while done < wanted {
            let part = (wanted - done).min(CAPACITY - self.start);
            let position = self.start as u64;
            match self.pages()?.read(position, sink, part) {
                Ok(more) => {
                    self.drop_front(more);
                    done += more;
                    if more < part {
                        break;
                    }
                }
                Err(Errno::EIO) if done == 0 => {
                    // The rest of the page is gone.
                    let lost = PAGE_SIZE - self.start % PAGE_SIZE;
                    self.drop_front(lost.min(self.length));
                    self.damaged = true;
                    self.repair()?;
                    return Err(Errno::EIO);
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if self.damaged {
            self.repair()?;
        }
        Ok(done)
    }

    fn drop_front(&mut self, count: usize) {
        self.length -= count;
        self.start = (self.start + count) % CAPACITY;
        if self.length == 0 {
            self.start = 0;
        }
    }

    /// Puts bytes in, up to `count`, for which there is room.
    fn write(&mut self, source: &mut Source<'_>, count: usize) -> Result<usize> {
        if self.damaged {
            self.repair()?;
        }
        let mut done = 0;
        while done < count {
            let end = (self.start + self.length) % CAPACITY;
            let part = (count - done).min(CAPACITY - end);
            match self.pages()?.write_mut(end as u64, source, part) {
                Ok(more) => {
                    self.length += more;
                    done += more;
                    if more < part {
                        break;
                    }
                }
                Err(error) if done == 0 => {
                    self.damaged |= error == Errno::EIO;
                    return Err(error);
                }
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Drops pages of which some were lost, as soon as nothing is in them.
    fn repair(&mut self) -> Result<()> {
        if self.length == 0 {
            self.pages()?.truncate(0, || Ok(()))?;
            self.damaged = false;
        }
        Ok(())
    }
}

impl Pipe {
    /// An empty pipe without ends.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(Ring {
                pages: None,
                start: 0,
                length: 0,
                damaged: false,
            }),
            length: AtomicUsize::new(0),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            opened: (AtomicU32::new(0), AtomicU32::new(0)),
            queue: WaitQueue::new(),
        })
    }

    fn length(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::SeqCst) != 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }

    /// Does something with the ring, and tells those who wait.
    fn with_ring<T>(&self, act: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = self.ring.lock();
        let result = act(&mut ring);
        self.length.store(ring.length, Ordering::SeqCst);
        drop(ring);
        self.queue.wake_all();
        result
    }

    fn read(&self, sink: &mut Sink<'_>, flags: OpenFlags) -> Result<usize> {
        if sink.left() == 0 {
            return Ok(0);
        }
        loop {
            // Writers first: what the last one wrote came before it went.
            let has_writers = self.has_writers();
            if self.length() > 0 {
                match self.with_ring(|ring| ring.read(sink)) {
                    // Another reader was faster.
                    Ok(0) => continue,
                    result => return result,
                }
            }
            if !has_writers {
                return Ok(0);
            }
            if flags.contains(OpenFlags::NON_BLOCKING) {
                return Err(Errno::EAGAIN);
            }
            self.queue
                .wait_interruptibly(|| (self.length() > 0 || !self.has_writers()).then_some(()))?;
        }
    }

    fn write(&self, source: &mut Source<'_>, flags: OpenFlags) -> Result<usize> {
        let total = source.left();
        let mut done = 0;
        while done < total {
            let left = total - done;
            // What is small enough goes in whole, and so waits for room for all of it.
            let least = if total <= ATOMIC { total } else { 1 };
            let attempt = match self.has_readers() {
                false => Err(Errno::EPIPE),
                true if CAPACITY - self.length() >= least => self.with_ring(|ring| {
                    let room = CAPACITY - ring.length;
                    if room < least {
                        return Ok(0);
                    }
                    ring.write(source, left.min(room))
                }),
                true if flags.contains(OpenFlags::NON_BLOCKING) => Err(Errno::EAGAIN),
                true => {
                    let waited = self.queue.wait_interruptibly(|| {
                        let room = CAPACITY - self.length() >= least;
                        (room || !self.has_readers()).then_some(0)
                    });
                    waited.map_err(Errno::from)
                }
            };
            match attempt {
                Ok(more) => done += more,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// An end of a pipe, or both: what is behind a descriptor.
#[derive(Debug)]
struct End {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl End {
    fn new(pipe: &Arc<Pipe>, flags: OpenFlags) -> Arc<Self> {
        let end = Self {
            pipe: Arc::clone(pipe),
            reads: flags.reads(),
            writes: flags.writes(),
        };
        if end.reads {
            pipe.readers.fetch_add(1, Ordering::SeqCst);
            pipe.opened.0.fetch_add(1, Ordering::SeqCst);
        }
        if end.writes {
            pipe.writers.fetch_add(1, Ordering::SeqCst);
            pipe.opened.1.fetch_add(1, Ordering::SeqCst);
        }
        pipe.queue.wake_all();
        Arc::new(end)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.reads {
            self.pipe.readers.fetch_sub(1, Ordering::SeqCst);
        }
        if self.writes {
            self.pipe.writers.fetch_sub(1, Ordering::SeqCst);
        }
        self.pipe.queue.wake_all();
    }
}

impl FileOperations for End {
    fn read(&self, _: u64, sink: &mut Sink<'_>, flags: OpenFlags) -> Result<usize> {
        self.pipe.read(sink, flags)
    }

    fn write(&self, _: u64, source: &mut Source<'_>, flags: OpenFlags) -> Result<usize> {
        self.pipe.write(source, flags)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::empty();
        if self.reads {
            ready.set(Readiness::HANG_UP, !self.pipe.has_writers());
            ready.set(Readiness::READABLE, self.pipe.length() > 0);
        }
        if self.writes {
            ready.set(Readiness::ERROR, !self.pipe.has_readers());
            ready.set(Readiness::WRITABLE, CAPACITY - self.pipe.length() >= ATOMIC);
        }
        ready
    }

    fn waiters(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn control(&self, request: u32, argument: UserAddress) -> Result<u64> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let count = self.pipe.length() as u32;
        crate::arch::user::copy_to_user(argument, &count.to_le_bytes())
            .map_err(|stopped| stopped.errno())?;
        Ok(0)
    }
}

/// Opens a named pipe: waits for the other end, unless `flags` say no or it opens both.
///
/// # Errors
///
/// `ENXIO`: only for writing, without waiting, and nobody reads. `EINTR`.
pub(super) fn open(pipe: &Arc<Pipe>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
    let waits = !flags.contains(OpenFlags::NON_BLOCKING);
    if !flags.reads() && !waits && !pipe.has_readers() {
        return Err(Errno::ENXIO);
    }
    // Counted, because the other end may come and go before this thread runs again.
    let seen = (
        pipe.opened.0.load(Ordering::SeqCst),
        pipe.opened.1.load(Ordering::SeqCst),
    );
    let end = End::new(pipe, flags);
    if waits {
        let came = || match (end.reads, end.writes) {
            (true, false) => pipe.has_writers() || pipe.opened.1.load(Ordering::SeqCst) != seen.1,
            (false, true) => pipe.has_readers() || pipe.opened.0.load(Ordering::SeqCst) != seen.0,
            _ => true,
        };
        pipe.queue.wait_interruptibly(|| came().then_some(()))?;
    }
    Ok(end)
}

/// `pipe2`: a new pipe's end for reading, and its end for writing.
///
/// # Errors
///
/// `ENOMEM`.
pub fn pipe(flags: OpenFlags) -> Result<(Arc<OpenFile>, Arc<OpenFile>)> {
    super::admit()?;
    let pipe = Pipe::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let inode = Arc::new(PipeInode {
        number: NEXT.fetch_add(1, Ordering::Relaxed),
        attributes: Attributes::new(0o600, 1),
    });
    let open = |access: OpenFlags| {
        let flags = (flags & OpenFlags::NON_BLOCKING) | access;
        let end = End::new(&pipe, flags);
        OpenFile::nameless(Arc::clone(&inode) as Arc<dyn Inode>, end, flags)
    };
    Ok((open(OpenFlags::empty()), open(OpenFlags::WRITE_ONLY)))
}

/// What `fstat` sees of a pipe without a name.
#[derive(Debug)]
struct PipeInode {
    number: u64,
    attributes: Attributes,
}

impl Inode for PipeInode {
    fn metadata(&self) -> Metadata {
        let values = self.attributes.get();
        Metadata {
            device: DeviceNumber::new(0, 2),
            inode: self.number,
            kind: FileType::Fifo,
            permissions: values.permissions,
            links: values.links,
            uid: values.uid,
            gid: values.gid,
            represents: DeviceNumber::default(),
            size: 0,
            block_size: PAGE_SIZE as u32,
            blocks: 0,
            accessed: values.accessed,
            modified: values.modified,
            changed: values.changed,
        }
    }

    fn kind(&self) -> FileType {
        FileType::Fifo
    }

    fn change_attributes(&self, change: AttributeChange) -> Result<()> {
        self.attributes.change(change);
        Ok(())
    }
}

/// Poisons a line of a page of a pipe's ring.
#[cfg(test)]
pub(super) fn poison_page(reader: &OpenFile, page: u64, line: usize) {
    let any: &dyn core::any::Any = reader.operations().as_ref();
    let end = any.downcast_ref::<End>().expect("an end of a pipe");
    let mut ring = end.pipe.ring.lock();
    let file = ring.pages().expect("there are bytes").file();
    let manager = crate::memory::manager();
    let found = manager.read_pages(file, page * PAGE_SIZE as u64, 1, |frame, _, _| {
        manager.machine().poison(frame.pfn(), line);
        Ok(())
    });
    assert_eq!(found, Ok(1));
}
