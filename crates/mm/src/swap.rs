//! Swap: private pages that left memory, in slots of a store.
//!
//! The entry of a page that left names its slot ([`Entry::Swap`](crate::Entry)), and the slot
//! counts such entries. The page of a slot may be in memory as well: in the *swap cache*, where
//! all who share it find the one frame. That frame knows its slot, and the slot holds a reference
//! to it.
//!
//! A page in the swap cache always equals its slot: no entry lets anyone store to it, and who
//! would has a copy made, or takes it out of the cache if nobody else needs the slot. So it is
//! clean: it can leave again without being written, and if its memory fails it is read again.

mod off;
mod page_in;
mod page_out;

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::frame::Frame;
use crate::machine::Permit;
use crate::{Errno, Machine, Memory, Pfn, UserFrame};

/// A page's place in the swap store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwapSlot(NonZeroU32);

impl SwapSlot {
    /// The slot of a number, which counts from 1.
    pub(crate) const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number: from 1 to as many as there are slots.
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// How much of the swap store is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapStatistics {
    /// Slots (`SwapTotal` in `/proc/meminfo`, in pages).
    pub slots: usize,
    /// Slots that hold nothing (`SwapFree`).
    pub free: usize,
    /// Slots whose page is in memory as well (`SwapCached`).
    pub cached: usize,
}

/// Where the page of a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    Free,
    /// In the store, or on its way there.
    Stored,
    /// On its way into memory.
    Reading,
    /// In the store and in a frame.
    Cached(Pfn),
}

#[derive(Debug)]
struct Slot {
    /// How many entries of translation tables name it.
    entries: u32,
    contents: Contents,
}

/// All slots. Its lock is taken after a frame's.
#[derive(Debug)]
pub(crate) struct Swap {
    slots: Vec<Slot>,
    /// With room for all.
    free: Vec<SwapSlot>,
    /// No slot is handed out: it is going away.
    closing: bool,
    /// Where the search for a slot that only the cache needs goes on.
    hand: usize,
}

/// What becomes of a wish to read a slot.
enum Reading {
    Begins,
    /// Another CPU is at it.
    Busy,
    /// Its page is in memory, or nobody wants it any more.
    Needless,
}

/// How many slots a search for one that only the cache needs looks at.
const SEARCHED: usize = 256;

impl Swap {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            closing: false,
            hand: 0,
        }
    }

    fn slot(&mut self, slot: SwapSlot) -> &mut Slot {
        &mut self.slots[slot.index()]
    }

    fn allocate(&mut self) -> Option<SwapSlot> {
        if self.closing {
            return None;
        }
        let slot = self.free.pop()?;
        self.slot(slot).contents = Contents::Stored;
        Some(slot)
    }

    /// The store may forget a slot before anyone else can have it.
    fn release<M: Machine>(&mut self, machine: &M, slot: SwapSlot) {
        debug_assert_eq!(self.slot(slot).entries, 0);
        machine.swap_free(slot);
        self.slot(slot).contents = Contents::Free;
        self.free.push(slot);
    }

    /// Counts one more entry, for someone who knows that the slot is not free.
    pub(crate) fn add_entry(&mut self, slot: SwapSlot) {
        debug_assert_ne!(self.slot(slot).contents, Contents::Free);
        self.slot(slot).entries += 1;
    }

    /// Counts one entry less. Returns the frame with the page if nobody but it needs the slot.
    fn remove_entry<M: Machine>(&mut self, machine: &M, slot: SwapSlot) -> Option<Pfn> {
        let of = self.slot(slot);
        of.entries -= 1;
        match of.contents {
            _ if of.entries > 0 => None,
            Contents::Cached(pfn) => Some(pfn),
            Contents::Stored => {
                self.release(machine, slot);
                None
            }
            Contents::Reading | Contents::Free => None,
        }
    }

    fn begin_reading(&mut self, slot: SwapSlot) -> Reading {
        match self.slots.get_mut(slot.index()) {
            Some(of) if of.contents == Contents::Stored && of.entries > 0 => {
                of.contents = Contents::Reading;
                Reading::Begins
            }
            Some(of) if of.contents == Contents::Reading => Reading::Busy,
            _ => Reading::Needless,
        }
    }

    /// The page of a slot is not in memory, or not any more.
    fn only_stored<M: Machine>(&mut self, machine: &M, slot: SwapSlot) {
        let of = self.slot(slot);
        of.contents = Contents::Stored;
        if of.entries == 0 {
            self.release(machine, slot);
        }
    }

    /// A slot that is in use only because its page is in memory, if one is found soon.
    fn next_needless(&mut self) -> Option<(SwapSlot, Pfn)> {
        for _ in 0..SEARCHED.min(self.slots.len()) {
            self.hand = (self.hand + 1) % self.slots.len();
            let of = &self.slots[self.hand];
            if let (0, Contents::Cached(pfn)) = (of.entries, of.contents) {
                return Some((SwapSlot::new(self.hand as u32 + 1)?, pfn));
            }
        }
        None
    }

    /// The slots in use: how many entries each has, and the frame with its page.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn used(&self) -> impl Iterator<Item = (SwapSlot, u32, Option<Pfn>)> {
        (1..)
            .filter_map(SwapSlot::new)
            .zip(&self.slots)
            .filter(|(_, of)| of.contents != Contents::Free)
            .map(|(slot, of)| match of.contents {
                Contents::Cached(pfn) => (slot, of.entries, Some(pfn)),
                _ => (slot, of.entries, None),
            })
    }
}

impl<M: Machine> Memory<M> {
    /// Starts to use so many slots of the machine's swap store.
    ///
    /// # Errors
    ///
    /// `EINVAL`: none, or more than an entry can name. `EBUSY`: it is in use already. `ENOMEM`.
    pub fn swap_on(&self, slots: u32) -> Result<(), Errno> {
        if slots == 0 || slots == u32::MAX {
            return Err(Errno::EINVAL);
        }
        let (mut table, mut free) = (Vec::new(), Vec::new());
        reserve(self.permit(), &mut table, slots)?;
        reserve(self.permit(), &mut free, slots)?;
        table.resize_with(slots as usize, || Slot {
            entries: 0,
            contents: Contents::Free,
        });
        free.extend((1..=slots).rev().filter_map(SwapSlot::new));
        let mut swap = self.swap.lock();
        if !swap.slots.is_empty() {
            return Err(Errno::EBUSY);
        }
        *swap = Swap {
            slots: table,
            free,
            ..Swap::new()
        };
        Ok(())
    }

    /// How much swap is in use. It counts, slot by slot.
    pub fn swap_statistics(&self) -> SwapStatistics {
        let swap = self.swap.lock();
        let cached = |of: &&Slot| matches!(of.contents, Contents::Cached(_));
        SwapStatistics {
            slots: swap.slots.len(),
            free: swap.free.len(),
            cached: swap.slots.iter().filter(cached).count(),
        }
    }

    /// Takes a locked page out of the swap cache, unless an entry needs its slot, or its memory
    /// failed and will. Returns whether it is not there. The reference that this gives back must
    /// not be the last.
    pub(crate) fn leave_swap(&self, frame: &mut Frame) -> bool {
        match frame.slot {
            Some(_) if frame.has_failed() => false,
            Some(slot) if self.swap.lock().slot(slot).entries > 0 => false,
            _ => {
                self.evict_from_swap(frame);
                true
            }
        }
    }

    /// Takes a locked page out of the swap cache. The reference that this gives back must not be
    /// the last.
    pub(crate) fn evict_from_swap(&self, frame: &mut Frame) {
        if let Some(slot) = frame.slot.take() {
            self.swap.lock().only_stored(&self.machine, slot);
            frame.references -= 1;
        }
    }

    /// Puts another frame with the same contents into a page's place in the swap cache.
    pub(crate) fn move_in_swap(&self, page: &UserFrame, fresh: &UserFrame) {
        let slot = {
            let mut frame = self.frames.lock(page);
            let Some(slot) = frame.slot.take() else {
                return;
            };
            frame.references -= 1;
            slot
        };
        // Who finds the slot between these two finds a frame that does not have it, and waits.
        let mut frame = self.frames.lock(fresh);
        self.swap.lock().slot(slot).contents = Contents::Cached(fresh.pfn());
        frame.slot = Some(slot);
        frame.references += 1;
    }

    /// An entry that named a slot is gone.
    pub(crate) fn drop_swap_entry(&self, slot: SwapSlot) {
        let cached = self.swap.lock().remove_entry(&self.machine, slot);
        if let Some(pfn) = cached {
            self.free_needless(slot, pfn, false);
        }
    }

    /// Frees a slot that only the cache needs: if nobody maps the page, or even so.
    fn free_needless(&self, slot: SwapSlot, pfn: Pfn, mapped: bool) {
        let mut frame = self.frames.lock_known(pfn);
        if frame.slot != Some(slot) || !mapped && !frame.mappers.is_empty() {
            return;
        }
        let page = self.frames.get_locked(&mut frame, pfn);
        self.leave_swap(&mut frame);
        drop(frame);
        self.frames.put(page);
    }
}

fn reserve<T>(permit: Permit, vector: &mut Vec<T>, slots: u32) -> Result<(), Errno> {
    permit.redeem()?;
    vector
        .try_reserve_exact(slots as usize)
        .map_err(|_| Errno::ENOMEM)
}
