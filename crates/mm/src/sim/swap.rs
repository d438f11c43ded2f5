//! Steps of swap. No process sees any of it.

use std::format;
use std::vec::Vec;

use super::World;
use super::world::{Checked, FRAMES};
use crate::sim::FIRST_FRAME;
use crate::{Advice, Entry, Errno, FrameState, Pfn, VirtualPage};

/// So few that they run out now and then.
pub(super) const SLOTS: u32 = 72;
/// More than any step writes while there is memory enough.
const SPARE_SLOTS: usize = 40;
const SPARE_FRAMES: usize = 60;

impl World {
    /// `madvise(MADV_PAGEOUT)` or `MADV_COLD`.
    pub(super) fn page_out(
        &mut self,
        process: usize,
        page: VirtualPage,
        c: u32,
        d: u32,
    ) -> Checked {
        let advice = match d % 5 {
            0 => Advice::Cold,
            _ => Advice::PageOut,
        };
        let free = self.memory.swap_statistics().free;
        self.advise(process, page, c, advice)?;
        let now = self.memory.swap_statistics().free;
        self.counts.swapped += free.saturating_sub(now) as u64;
        Ok(())
    }

    /// `swapoff`, and `swapon` again.
    pub(super) fn swap_off(&mut self) -> Checked {
        let on = self.memory.swap_statistics().slots > 0;
        let got = self.memory.swap_off();
        self.refused |= self.memory.machine().take_refused();
        self.note_unreadable()?;
        match got {
            Ok(()) if on && self.memory.machine().swapped() == 0 => {}
            Err(Errno::EINVAL) if !on => {}
            Err(Errno::ENOMEM) => return self.out_of_memory(),
            got => return Err(format!("swapoff: {got:?}")),
        }
        let got = self.memory.swap_on(SLOTS);
        self.call(got, Ok(()), "swapon").map(|_| ())
    }

    /// What could not be read from its slot is lost.
    fn note_unreadable(&mut self) -> Checked {
        let unreadable = Entry::HwPoison(Pfn(0));
        for process in &mut self.processes {
            for (page, model) in &mut process.pages {
                let entry = self.memory.entry(&process.space, page.address());
                if entry == unreadable && !model.may_be_lost {
                    if !self.refused {
                        return Err(format!("{page:?} is lost, and its slot could be read"));
                    }
                    model.may_be_lost = true;
                }
            }
        }
        Ok(())
    }

    /// Whether the page in a frame is in swap too, so that no error in the frame loses it.
    pub(super) fn is_in_swap(&self, pfn: Pfn) -> bool {
        let frame = self.memory.frames.find(pfn);
        frame.is_some_and(|frame| frame.slot.is_some())
    }

    /// The frame of a page that is in swap too is about to fail. Nobody loses anything, unless the
    /// page leaves swap first.
    pub(super) fn poison_in_swap(&mut self, pfn: Pfn) {
        self.latent.insert(pfn);
    }

    /// If slots or memory are short, a step may first take a page out of swap, and then lose it.
    pub(super) fn expect_shortage(&mut self) {
        let slots = self.memory.swap_statistics().free;
        if slots < SPARE_SLOTS || self.memory.free_frames() < SPARE_FRAMES {
            let latent: Vec<_> = self.latent.iter().copied().collect();
            latent.into_iter().for_each(|pfn| self.mark_lost(pfn));
        }
    }

    /// What is not in swap any more can be lost from here on.
    pub(super) fn note_left_swap(&mut self) {
        for pfn in std::mem::take(&mut self.latent) {
            if self.is_in_swap(pfn) {
                self.latent.insert(pfn);
            } else if self.memory.is_poisoned(pfn) {
                self.counts.reread += 1;
            } else {
                self.mark_lost(pfn);
            }
        }
    }

    /// The store has as many pages as there are slots in use.
    pub(super) fn check_swap(&self) -> Checked {
        let statistics = self.memory.swap_statistics();
        let (stored, used) = (
            self.memory.machine().swapped(),
            statistics.slots - statistics.free,
        );
        if stored == used {
            return Ok(());
        }
        Err(format!("swap has {stored} pages in {used} slots"))
    }

    /// How many frames are tables.
    pub(super) fn tables(&self) -> usize {
        let is_table = |frame: &u64| {
            let state = self.memory.frame_state(Pfn(FIRST_FRAME + frame));
            state == Some(FrameState::Table)
        };
        (0..u64::from(FRAMES)).filter(is_table).count()
    }
}
