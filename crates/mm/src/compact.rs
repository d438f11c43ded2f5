//! Compaction: making a free block by moving the pages in it elsewhere.
//!
//! The allocator hands out the lowest frames first, so the search for a block that is cheap to
//! empty starts at the highest. What is free of a block is claimed before anything moves, so that
//! nothing moves to where it must leave again. If a page stays, the block is given back.

use core::ops::Range;

use crate::frame::Frame;
use crate::migrate::Stays;
use crate::{Errno, FrameState, MAX_ORDER, Machine, Memory, Pfn, UserFrame};

/// Why a block cannot be emptied.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// A page in it stays where it is.
    Here,
    /// There is no memory to move anything to.
    NoMemory,
    /// A page could not be read.
    Poisoned(Pfn),
}

impl<M: Machine> Memory<M> {
    /// Makes sure that there is a free block of `2^order` frames, by moving pages if need be. The
    /// processes that map them notice nothing. Others may take the block before the caller does.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the order is greater than [`MAX_ORDER`]. `ENOMEM`: every block holds something
    /// that cannot be moved, or there is too little memory.
    pub fn compact(&self, order: usize) -> Result<(), Errno> {
        if order > MAX_ORDER {
            return Err(Errno::EINVAL);
        }
        if self.frames.has_free_block(order) {
            return Ok(());
        }
        let size = 1 << order;
        // First the blocks that are nearly empty, then any.
        for most in [size / 4, size] {
            for block in self.frames.blocks(order) {
                if self.frames.free_frames() < size {
                    return Err(Errno::ENOMEM);
                }
                if !self.can_empty(block.clone(), most) {
                    continue;
                }
                match self.empty(block) {
                    Ok(()) => return Ok(()),
                    Err(Obstacle::Here) => {}
                    Err(Obstacle::NoMemory) => return Err(Errno::ENOMEM),
                    Err(Obstacle::Poisoned(pfn)) => self.isolate_consumed(pfn),
                }
            }
        }
        Err(Errno::ENOMEM)
    }

    /// How many free blocks of each order there are (`/proc/buddyinfo`).
    pub fn free_blocks(&self) -> [usize; MAX_ORDER + 1] {
        self.frames.free_blocks()
    }

    /// Whether nothing in a block must stay, and at most so many pages must leave.
    fn can_empty(&self, block: Range<Pfn>, most: usize) -> bool {
        let mut pages = 0;
        let mut may_go = |frame: &Frame| match frame.state {
            _ if frame.poisoned || frame.pins > 0 || frame.huge => false,
            FrameState::Free => true,
            FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. } => {
                pages += 1;
                pages <= most
            }
            _ => false,
        };
        (block.start.0..block.end.0).all(|pfn| {
            self.frames
                .find(Pfn(pfn))
                .is_some_and(|frame| may_go(&frame))
        })
    }

    /// Moves everything out of a block, and gives it to the allocator in one piece.
    pub(crate) fn empty(&self, block: Range<Pfn>) -> Result<(), Obstacle> {
        // Another CPU would take what this one has claimed for its own.
        let _emptying = self.emptying.lock();
        let frames = || (block.start.0..block.end.0).map(Pfn);
        for pfn in frames() {
            // What is on its way out of the allocator is found in use below, or still so.
            self.frames.claim_free(pfn);
        }
        let emptied = frames().try_for_each(|pfn| self.move_out(pfn));
        // Errors find the frames where they expect them: claimed, or in the allocator.
        let _one = self.failures.lock();
        self.frames.release_claimed(block, emptied.is_ok());
        emptied
    }

    /// Moves the page in a frame elsewhere, and claims the frame.
    fn move_out(&self, pfn: Pfn) -> Result<(), Obstacle> {
        let _one = self.failures.lock();
        let page = {
            let Some(mut frame) = self.frames.find(pfn) else {
                return Err(Obstacle::Here);
            };
            match frame.state {
                _ if frame.poisoned => return Err(Obstacle::Here),
                FrameState::Claimed => return Ok(()),
                FrameState::Free => {
                    drop(frame);
                    // It was given back since.
                    return match self.frames.claim_free(pfn) {
                        true => Ok(()),
                        false => Err(Obstacle::Here),
                    };
                }
                FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. }
                    if !frame.huge =>
                {
                    frame.references += 1;
                    frame.migrating = true;
                }
                _ => return Err(Obstacle::Here),
            }
            UserFrame::of_entry(pfn)
        };
        let moved = self.migrate(&page);
        self.frames.lock(&page).migrating = false;
        match moved {
            Ok(()) if self.frames.claim_held(&page) => Ok(()),
            moved => {
                self.frames.put(page);
                match moved {
                    Err(Stays::Error(Errno::ENOMEM)) => Err(Obstacle::NoMemory),
                    Err(Stays::Poisoned(poisoned)) => Err(Obstacle::Poisoned(poisoned.pfn)),
                    Ok(()) | Err(Stays::Error(_)) => Err(Obstacle::Here),
                }
            }
        }
    }
}
