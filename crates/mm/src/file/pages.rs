//! Reads and writes of files.
//!
//! Their bytes may come from or go to somewhere this crate knows nothing of: memory of a running
//! process. Then the caller gets the pages one after the other and moves the bytes itself,
//! between the frame and wherever else. No lock is held meanwhile, so this may fault, and sleep.

use alloc::sync::Arc;

use super::{File, FileKind, Piece, Slot, piece};
use crate::fault::Stop;
use crate::frame::Frames;
use crate::{Errno, FrameState, Machine, Memory, PAGE_SIZE, Pfn, UserFrame};

/// Moving the bytes of a page ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Halted {
    /// How many bytes were moved: exactly those, and none after.
    pub done: usize,
    /// Why it ended.
    pub cause: Halt,
}

/// Why moving the bytes of a page ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// This frame of the file failed.
    Poisoned(Pfn),
    /// The other side failed.
    Other(Errno),
}

impl Halted {
    /// Before the first byte.
    fn before(error: Errno) -> Self {
        Self {
            done: 0,
            cause: Halt::Other(error),
        }
    }
}

/// Pages of a file that were looked up all at once, and are still to be read.
struct Run<'m> {
    frames: &'m Frames,
    /// From the next one on.
    pages: [Option<UserFrame>; Run::LIMIT],
    next: usize,
}

impl<'m> Run<'m> {
    const LIMIT: usize = 16;

    fn new(frames: &'m Frames) -> Self {
        Self {
            frames,
            pages: [const { None }; Self::LIMIT],
            next: Self::LIMIT,
        }
    }

    fn next(&mut self) -> Option<UserFrame> {
        let page = self.pages.get_mut(self.next)?.take();
        self.next += 1;
        page
    }
}

/// Gives back those that are left.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        while let Some(page) = self.next() {
            self.frames.put(page);
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Reads from a file at a byte position, and returns how many bytes. A clean page whose
    /// memory failed is read from the store again.
    ///
    /// # Errors
    ///
    /// `EIO` if the first byte is lost or its store failed, `ENOMEM`, `EBUSY` if another CPU is
    /// bringing the page in: repeat it. If some bytes could be read, there is no error but a
    /// short count.
    pub fn read_file(
        &self,
        file: &Arc<File>,
        position: u64,
        into: &mut [u8],
    ) -> Result<usize, Errno> {
        let mut done = 0;
        self.read_pages(file, position, into.len(), |frame, offset, length| {
            let read = self
                .machine
                .read(frame, offset, &mut into[done..done + length]);
            let more = read.map_or_else(|poisoned| poisoned.done, |()| length);
            done += more;
            read.map_err(|poisoned| Halted {
                done: more,
                cause: Halt::Poisoned(poisoned.pfn),
            })
        })
    }

    /// Writes to a file at a byte position, growing it, and returns how many bytes. A page that
    /// was lost comes back when all of it is written. The caller keeps writers and syncs of one
    /// file apart, as an inode's lock does.
    ///
    /// # Errors
    ///
    /// As for [`read_file`](Self::read_file), and `EOVERFLOW` beyond the greatest size; `EINVAL` if
    /// the file has huge pages of the pool.
    pub fn write_file(
        &self,
        file: &Arc<File>,
        position: u64,
        bytes: &[u8],
    ) -> Result<usize, Errno> {
        let mut done = 0;
        self.write_pages(file, position, bytes.len(), |frame, offset, length| {
            let part = &bytes[done..done + length];
            self.machine.write(frame, offset, part);
            done += length;
            Ok(())
        })
    }

    /// Reads up to `length` bytes of a file from a byte position: gives each page to `copy`, with
    /// the offset and number of bytes that count. A clean page whose memory fails is read from
    /// the store again, and `copy` goes on where it stopped. Returns how many bytes were copied:
    /// fewer than asked for at the end of the file, and before an error.
    ///
    /// # Errors
    ///
    /// As for [`read_file`](Self::read_file), and what `copy` says; if no byte was copied.
    pub fn read_pages(
        &self,
        file: &Arc<File>,
        position: u64,
        length: usize,
        mut copy: impl FnMut(&UserFrame, usize, usize) -> Result<(), Halted>,
    ) -> Result<usize, Errno> {
        let left = file.size().saturating_sub(position);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        let mut run = None;
        while done < length {
            let piece = piece(position + done as u64, length - done)?;
            let frame = match self.next_readable(&mut run, file, piece.index, length - done) {
                Ok(frame) => frame,
                // Truncated while it was read.
                Err(_) if file.size() <= position + done as u64 => return Ok(done),
                Err(error) => return some(done, error),
            };
            let copied = copy(&frame, piece.offset, piece.length);
            self.frames.put(frame);
            let Err(halted) = copied else {
                done += piece.length;
                continue;
            };
            // The same page is next.
            run = None;
            done += halted.done;
            match halted.cause {
                Halt::Poisoned(pfn) => self.isolate_consumed(pfn),
                Halt::Other(error) => return some(done, error),
            }
        }
        Ok(done)
    }

    /// Writes `length` bytes to a file at a byte position, growing it: gives each page to `fill`,
    /// with the offset and number of bytes to store. Returns how many bytes were stored. The
    /// caller keeps writers and syncs of one file apart.
    ///
    /// # Errors
    ///
    /// As for [`write_file`](Self::write_file), and what `fill` says; if no byte was stored.
    pub fn write_pages(
        &self,
        file: &Arc<File>,
        position: u64,
        length: usize,
        mut fill: impl FnMut(&UserFrame, usize, usize) -> Result<(), Halted>,
    ) -> Result<usize, Errno> {
        if file.kind == FileKind::Hugetlb {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while done < length {
            let Some(at) = position.checked_add(done as u64) else {
                return some(done, Errno::EOVERFLOW);
            };
            let piece = match piece(at, length - done) {
                Ok(piece) => piece,
                Err(error) => return some(done, error),
            };
            let before = file.size();
            let end = at + piece.length as u64;
            if end > before {
                self.set_size(file, end);
            }
            let Err(halted) = self.fill_piece(file, &piece, &mut fill) else {
                done += piece.length;
                continue;
            };
            if end > before {
                let stored = if halted.done == 0 {
                    before
                } else {
                    at + halted.done as u64
                };
                self.set_size(file, before.max(stored));
            }
            done += halted.done;
            if let Halt::Other(error) = halted.cause {
                return some(done, error);
            }
        }
        Ok(done)
    }

    /// The next page to read from, of `run` if it has one. Of more than a page, those that follow
    /// are looked up with it.
    fn next_readable<'m>(
        &'m self,
        run: &mut Option<Run<'m>>,
        file: &Arc<File>,
        index: u32,
        length: usize,
    ) -> Result<UserFrame, Errno> {
        let mut next = run.as_mut().and_then(Run::next);
        if next.is_none() && length > PAGE_SIZE {
            let run = run.insert(Run::new(&self.frames));
            run.next = Run::LIMIT - length.div_ceil(PAGE_SIZE).min(Run::LIMIT);
            self.cached_run(file, index, &mut run.pages[run.next..]);
            next = run.next();
        }
        match next {
            Some(frame) => Ok(frame),
            None => self.readable(file, index),
        }
    }

    /// A page to read from: of the cache; or zeros, if it is of a block that the pool was not asked
    /// for yet.
    fn readable(&self, file: &Arc<File>, index: u32) -> Result<UserFrame, Errno> {
        if file.kind != FileKind::Hugetlb {
            return self.cached_or_fetch(file, index);
        }
        match self.cached(file, index) {
            Ok(frame) => Ok(frame),
            Err(Stop::Need(_)) => self.with_reclaim(|| {
                let state = FrameState::Anonymous;
                let frame = self.frames.allocate_user(&self.machine, state)?;
                self.machine.zero(&frame);
                Ok(frame)
            }),
            Err(_) => Err(Errno::EIO),
        }
    }

    fn fill_piece(
        &self,
        file: &Arc<File>,
        piece: &Piece,
        fill: &mut impl FnMut(&UserFrame, usize, usize) -> Result<(), Halted>,
    ) -> Result<(), Halted> {
        let whole = piece.length == PAGE_SIZE;
        if whole && matches!(file.cache.lock().slots.get(piece.index), Some(Slot::Lost)) {
            return self.refill_lost(file, piece.index, fill);
        }
        loop {
            let page = self
                .cached_or_fetch(file, piece.index)
                .map_err(Halted::before)?;
            if file.kind == FileKind::Stored && self.frames.lock(&page).huge {
                // A huge page of a store is clean.
                let pfn = page.pfn();
                self.frames.put(page);
                match self.with_reclaim(|| self.split(pfn)) {
                    Ok(()) => {}
                    Err(Errno::EBUSY) => crate::lock::relax(),
                    Err(error) => return Err(Halted::before(error)),
                }
                continue;
            }
            let poisoned = {
                let mut frame = self.frames.lock(&page);
                // Dirty first: from the first byte on, what the store has is not what was
                // written. A frame that failed before that counted as clean, and is left alone.
                frame.dirty |= !frame.poisoned;
                frame.poisoned
            };
            if !poisoned {
                let filled = fill(&page, piece.offset, piece.length);
                self.frames.put(page);
                return filled;
            }
            self.frames.put(page);
            crate::lock::relax();
        }
    }

    /// Brings a lost page back with contents that replace all of it. If they do not come whole,
    /// it stays lost, and nothing counts as stored.
    fn refill_lost(
        &self,
        file: &File,
        index: u32,
        fill: &mut impl FnMut(&UserFrame, usize, usize) -> Result<(), Halted>,
    ) -> Result<(), Halted> {
        let state = FrameState::File {
            file: file.id,
            index,
        };
        let page = self
            .with_reclaim(|| self.frames.allocate_user(&self.machine, state))
            .map_err(Halted::before)?;
        self.frames.lock(&page).dirty = true;
        let filled = fill(&page, 0, PAGE_SIZE);
        let mut cache = file.cache.lock();
        if filled.is_ok()
            && !self.frames.lock(&page).poisoned
            && let Some(slot @ Slot::Lost) = cache.slots.get_mut(index)
        {
            *slot = Slot::Filled(page);
            return Ok(());
        }
        drop(cache);
        self.frames.put(page);
        Err(filled.map_or_else(
            |halted| Halted { done: 0, ..halted },
            |()| Halted::before(Errno::EBUSY),
        ))
    }
}

/// What was done, if anything was.
fn some(done: usize, error: Errno) -> Result<usize, Errno> {
    if done == 0 { Err(error) } else { Ok(done) }
}
