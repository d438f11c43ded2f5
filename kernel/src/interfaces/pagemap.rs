//! `/proc/PID/pagemap`: for each page of a process a word that says where it is. Linux,
//! `Documentation/admin-guide/mm/pagemap.rst`.

use alloc::sync::Arc;

use mm::{Entry, FrameState, PAGE_SIZE, VirtualAddress};

use crate::error::{Errno, Result};
use crate::fs::{FileOperations, Inode, OpenFlags};
use crate::memory::{Sink, manager};
use crate::task::{Process, UserSpace, preemption};

/// The page is in memory; the low bits are its frame's number.
const PRESENT: u64 = 1 << 63;
/// It is not, but something is remembered of it: that it failed, or moves.
const SWAPPED: u64 = 1 << 62;
/// It is a file's.
const FILE: u64 = 1 << 61;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();
/// How many words are made at a time.
const WORDS: usize = 64;

/// The file of a process.
#[derive(Debug)]
pub(super) struct Pagemap(pub(super) Arc<Process>);

impl FileOperations for Pagemap {
    fn read(&self, position: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        if !position.is_multiple_of(WORD as u64) || !sink.left().is_multiple_of(WORD) {
            return Err(Errno::EINVAL);
        }
        // A process that has ended has no pages.
        let Some(space) = self.0.space() else {
            return Ok(0);
        };
        let end = 1 << (mm::ADDRESS_BITS - PAGE_SIZE.trailing_zeros());
        let first = position / WORD as u64;
        let mut done = 0;
        while sink.left() > 0 {
            let page = first + (done / WORD) as u64;
            let count = (sink.left() / WORD).min(WORDS);
            let count = count.min(usize::try_from(end - page.min(end)).unwrap_or(WORDS));
            let mut bytes = [0; WORDS * WORD];
            let (words, _) = bytes.as_chunks_mut::<WORD>();
            for (word, page) in words[..count].iter_mut().zip(page..) {
                *word = word_of(&space, page).to_le_bytes();
            }
            if count == 0 {
                break;
            }
            match sink.put(&bytes[..count * WORD]) {
                Ok(()) => done += count * WORD,
                Err(stopped) if done + stopped.done == 0 => return Err(stopped.errno()),
                Err(stopped) => return Ok(done + stopped.done),
            }
        }
        Ok(done)
    }

    fn end(&self, _: &dyn Inode) -> Result<u64> {
        Err(Errno::EINVAL)
    }
}

fn word_of(space: &UserSpace, page: u64) -> u64 {
    let _here = preemption::disable();
    let manager = manager();
    let address = VirtualAddress(page * PAGE_SIZE as u64);
    match manager.entry(space.handle(), address) {
        Entry::Empty | Entry::Reserved | Entry::Taken => 0,
        Entry::Page(pfn, _) => {
            let is_file = matches!(manager.frame_state(pfn), Some(FrameState::File { .. }));
            PRESENT | if is_file { FILE } else { 0 } | pfn.0
        }
        Entry::HwPoison(_) | Entry::Migration(_) => SWAPPED,
    }
}
