//! Steps of compaction.

use std::format;

use super::World;
use super::world::{Checked, FRAMES};
use crate::compact::Obstacle;
use crate::sim::FIRST_FRAME;
use crate::{Errno, FrameState, Pfn, VirtualPage};

impl World {
    /// Compaction must succeed if a block can be emptied and nothing comes in between.
    pub(super) fn compact(&mut self, c: u32) -> Checked {
        let order = c as usize % 6;
        let possible = self.can_compact(order);
        let (free, corrupted) = (self.memory.free_frames(), self.memory.corrupted_bytes());
        let got = self.memory.compact(order);
        self.refused |= self.memory.machine().take_refused();
        let disturbed = self.refused || self.memory.corrupted_bytes() != corrupted;
        if !disturbed && self.memory.free_frames() != free {
            return Err(format!(
                "compaction left {} of {free} frames free",
                self.memory.free_frames()
            ));
        }
        let blocks = self.memory.free_blocks();
        match got {
            Ok(()) if blocks[order..].iter().sum::<usize>() > 0 => Ok(()),
            Err(Errno::ENOMEM) if disturbed || !possible => Ok(()),
            got => Err(format!("compaction to order {order}: {got:?}, {blocks:?}")),
        }
    }

    /// Empties the block that a page is in, whether or not there is another that is free.
    pub(super) fn empty_block(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        let Some(pfn) = self.frame_of(&self.processes[process].space, page) else {
            return Ok(());
        };
        let size = 1u64 << (c % 4);
        let start = pfn.0 / size * size;
        let block = Pfn(start)..Pfn(start + size);
        let frames = || (start..start + size).map(Pfn);
        let is_free = |pfn| self.memory.frame_state(pfn) == Some(FrameState::Free);
        match self.memory.empty(block) {
            Ok(()) if frames().all(is_free) => {
                self.counts.emptied += 1;
                Ok(())
            }
            Ok(()) => Err(format!("frame {start:#x} and {size} more are not free")),
            Err(Obstacle::Poisoned(pfn)) => {
                self.memory.isolate_consumed(pfn);
                Ok(())
            }
            Err(Obstacle::NoMemory) => self.out_of_memory(),
            Err(Obstacle::Here) if frames().any(|pfn| !self.is_movable(pfn)) => Ok(()),
            Err(Obstacle::Here) => Err(format!("nothing is in the way at frame {start:#x}")),
        }
    }

    /// Whether a block holds nothing that cannot be moved, and the rest has room for it.
    pub(super) fn can_compact(&self, order: usize) -> bool {
        let size = 1u64 << order;
        let movable = |pfn| self.is_movable(Pfn(FIRST_FRAME + pfn));
        self.memory.free_frames() >= size as usize
            && (0..u64::from(FRAMES) / size)
                .any(|block| (block * size..(block + 1) * size).all(movable))
    }

    /// Whether a frame is free, or a small page that can move.
    fn is_movable(&self, pfn: Pfn) -> bool {
        if self.memory.frames.find(pfn).is_some_and(|frame| frame.huge) {
            return false;
        }
        match self.memory.frame_state(pfn) {
            Some(FrameState::Free) => true,
            Some(FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. }) => {
                !self.is_pinned(pfn)
            }
            _ => false,
        }
    }
}
