//! The bytes of regular files: pages of the memory manager's.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use mm::{FileKind, Halt, Halted};

use crate::error::{Errno, Result};
use crate::memory::{Cause, Manager, Sink, Source, Stopped, manager};
use crate::sync::Mutex;
use crate::task::preemption;

/// So many bytes at most are moved before other threads get a chance.
const STRETCH: usize = 64 * 1024;

/// The bytes of a regular file. Its inode owns it; the cache ends with it, and with the last
/// mapping.
#[derive(Debug)]
pub struct Pages {
    /// Present until the end.
    file: Option<Arc<mm::File>>,
    /// Keeps writers, truncations and syncs apart.
    change: Mutex<()>,
    /// How many times [`sync`](Self::sync) has failed.
    losses: AtomicU32,
}

impl Pages {
    /// The bytes of a new file, or of one that is `size` bytes long on its store.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EFBIG`: its pages have no number.
    pub fn new(kind: FileKind, size: u64) -> Result<Self> {
        let file = with_manager(|manager| manager.create_file(kind, size)).map_err(too_big)?;
        Ok(Self {
            file: Some(file),
            change: Mutex::new(()),
            losses: AtomicU32::new(0),
        })
    }

    /// The memory manager's file.
    pub fn file(&self) -> &Arc<mm::File> {
        self.file.as_ref().expect("it is there until the end")
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        with_manager(|_| self.file().size())
    }

    /// Reads `length` bytes from a byte position, or fewer if the file ends. `sink` has room.
    ///
    /// # Errors
    ///
    /// Only if no byte was read: `EIO`: the first is lost, or its store failed. `EFAULT`, `ENOMEM`.
    pub fn read(&self, position: u64, sink: &mut Sink<'_>, length: usize) -> Result<usize> {
        let mut done = 0;
        loop {
            let left = length - done;
            let at = position.saturating_add(done as u64);
            let read = with_manager(|manager| {
                manager.read_pages(
                    self.file(),
                    at,
                    left.min(STRETCH),
                    |frame, offset, length| {
                        let put = || sink.put_frame(frame, offset, length);
                        preemption::allow(put).map_err(halted)
                    },
                )
            });
            match read {
                Ok(more) if more == left || more == 0 => return Ok(done + more),
                // The end, or an error, which the next attempt tells apart.
                Ok(more) => done += more,
                // Another CPU brings the page in.
                Err(mm::Errno::EBUSY) => core::hint::spin_loop(),
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes `length` bytes, so many as `source` has at least, at a byte position, and makes the
    /// file longer if need be.
    ///
    /// # Errors
    ///
    /// Only if no byte was written: as for [`read`](Self::read), and `EFBIG`.
    pub fn write(&self, position: u64, source: &mut Source<'_>, length: usize) -> Result<usize> {
        let _alone = self.change.lock();
        self.write_alone(position, source, length)
    }

    /// As [`write`](Self::write), for a caller that keeps all others away already.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn write_mut(
        &mut self,
        position: u64,
        source: &mut Source<'_>,
        length: usize,
    ) -> Result<usize> {
        self.write_alone(position, source, length)
    }

    /// Writes at the end. Returns where it is then, and how many bytes were written.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn append(&self, source: &mut Source<'_>) -> Result<(u64, usize)> {
        let _alone = self.change.lock();
        let end = self.size();
        let done = self.write_alone(end, source, source.left())?;
        Ok((end + done as u64, done))
    }

    fn write_alone(&self, position: u64, source: &mut Source<'_>, length: usize) -> Result<usize> {
        let beyond = source.left() - length;
        let mut done = 0;
        loop {
            let left = length - done;
            let at = position.checked_add(done as u64).ok_or(Errno::EFBIG)?;
            let wrote = with_manager(|manager| {
                manager.write_pages(
                    self.file(),
                    at,
                    left.min(STRETCH),
                    |frame, offset, length| {
                        let take = || source.take_frame(frame, offset, length);
                        preemption::allow(take).map_err(halted)
                    },
                )
            });
            match wrote {
                Ok(more) if more == left => return Ok(done + more),
                Ok(more) => done += more,
                // Another CPU brings the page in; but bytes that are gone cannot be taken again.
                Err(mm::Errno::EBUSY) if source.left() == beyond + left => core::hint::spin_loop(),
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(too_big(error)),
            }
        }
    }

    /// Makes the file longer, with zeros, or shorter. A file that becomes shorter does so in its
    /// store too; for a longer one `grow` sees to that, before anything else has changed.
    ///
    /// # Errors
    ///
    /// `EFBIG`, `EIO`, and those of `grow`: nothing changed.
    pub fn truncate(&self, size: u64, grow: impl FnOnce() -> Result<()>) -> Result<()> {
        let _alone = self.change.lock();
        if size > self.size() {
            grow()?;
        }
        loop {
            match with_manager(|manager| manager.truncate(self.file(), size)) {
                Ok(()) => return Ok(()),
                Err(mm::Errno::EBUSY) => core::hint::spin_loop(),
                Err(error) => return Err(too_big(error)),
            }
        }
    }

    /// Writes changed pages to the store.
    ///
    /// # Errors
    ///
    /// `EIO`: now, or since the last call.
    pub fn sync(&self) -> Result<()> {
        let _alone = self.change.lock();
        let synced = with_manager(|manager| manager.sync(self.file()));
        if synced.is_err() {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
        Ok(synced?)
    }

    /// How many times [`sync`](Self::sync) has failed.
    pub fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            with_manager(|manager| manager.close(file));
        }
    }
}

/// The memory manager's locks spin, so whoever is in there stays on its CPU. It may sleep all the
/// same where the manager holds no lock: in a page fault on user memory, or in a store.
fn with_manager<T>(act: impl FnOnce(&Manager) -> T) -> T {
    act(&manager())
}

fn halted(stopped: Stopped) -> Halted {
    let cause = match stopped.cause {
        Cause::Frame(pfn) => Halt::Poisoned(pfn),
        Cause::Fault | Cause::UserMemory => Halt::Other(mm::Errno::EFAULT),
    };
    Halted {
        done: stopped.done,
        cause,
    }
}

/// What the memory manager calls an overflow is to a process a file that is too big.
fn too_big(error: mm::Errno) -> Errno {
    match error {
        mm::Errno::EOVERFLOW => Errno::EFBIG,
        error => error.into(),
    }
}
