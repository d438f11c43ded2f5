//! Invariants that hold whenever no operation is under way. For tests: it visits everything.

use std::vec::Vec;

use crate::frame::Frame;
use crate::rmap::Mapper;
use crate::table::pages_end;
use crate::vma::Vma;
use crate::{
    Entry, FrameState, HugetlbStatistics, Machine, Memory, PageRange, Pfn, SwapSlot, VirtualPage,
};

/// What the tables of all spaces refer to.
#[derive(Default)]
struct Named {
    /// Frames, and by which entry each, in order.
    mapped: Vec<(Pfn, Mapper)>,
    /// Slots of swap, in order.
    swapped: Vec<SwapSlot>,
    /// How many entries are reservations.
    reserved: u64,
}

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The reverse map of a frame differs from the entries that name it.
    ReverseMap(Pfn),
    /// A frame has another number of references than there are users: `(found, expected)`.
    References(Pfn, u32, u32),
    /// A frame is free but not in the allocator.
    Allocator(Pfn),
    /// The allocator has so many frames, of which only so many are free.
    AllocatorHas(usize, usize),
    /// A poisoned frame is still in use.
    PoisonInUse(Pfn),
    /// A page is mapped for stores though the store's copy counts as good, or it is shared.
    Writable(Pfn),
    /// A private page is pinned, and processes share it.
    PinShared(Pfn),
    /// Two areas that are alike meet here.
    Unmerged(VirtualPage),
    /// A huge page is not mapped as a block, or another is, or has not the tails it must have.
    Size(Pfn),
    /// An entry lies outside all areas, or in more than one.
    OutsideAreas(Pfn),
    /// A reservation lies where no huge page of the pool can come.
    Reservation(VirtualPage),
    /// The pool of huge pages counts so, but there are so many.
    Pool(HugetlbStatistics, HugetlbStatistics),
    /// A slot of the page cache and its frame disagree.
    Slot(Pfn),
    /// A slot of swap has another number of entries than name it, or nobody needs it, or its
    /// page's frame does not know of it.
    Swap(SwapSlot),
    /// A frame is shared by contents, and the stable tree does not have it.
    StableTree(Pfn),
    /// A frame that nobody maps by itself has room for mappers.
    Room(Pfn),
    /// A frame counts as moving or as being written back, or an entry as one of a page that moves,
    /// though whoever did that is done: who wants it waits for ever.
    Busy(Pfn),
}

impl<M: Machine> Memory<M> {
    /// Checks all invariants.
    ///
    /// # Errors
    ///
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let named = self.check_spaces()?;
        self.check_swap(&named.swapped)?;
        let (cached, in_files) = self.check_files()?;
        let mut pool = HugetlbStatistics {
            reserved: named.reserved + in_files,
            ..self.hugetlb_statistics()
        };
        (pool.total, pool.free) = (0, 0);
        let mapped = named.mapped;
        let (mut mapped, mut cached) = (&mapped[..], &cached[..]);
        let mut free = 0;
        let mut block_end = Pfn(0);
        for pfn in self.frames.all() {
            let mappers = take_group(&mut mapped, |entry| entry.0 == pfn);
            let slots = take_group(&mut cached, |entry| *entry == pfn);
            let Some(frame) = self.frames.find(pfn) else {
                continue;
            };
            if !frame
                .mappers
                .as_slice()
                .iter()
                .eq(mappers.iter().map(|entry| &entry.1))
            {
                return Err(Violation::ReverseMap(pfn));
            }
            // A huge page is held by whoever holds a piece.
            let tails = if frame.huge { self.tails(pfn) } else { 0..0 };
            let held = |tail| {
                self.frames
                    .find(Pfn(tail))
                    .map(|tail| [tail.references, tail.pins])
            };
            let [in_tails, pins_in_tails] =
                tails.filter_map(held).fold([0; 2], |[held, pins], more| {
                    [held + more[0], pins + more[1]]
                });
            let expected = match frame.state {
                FrameState::Kernel | FrameState::Table => 1,
                _ => {
                    let swap = usize::from(frame.slot.is_some());
                    let entries = (mappers.len() + slots.len() + swap) as u32;
                    entries + frame.pins - pins_in_tails + in_tails
                }
            };
            if frame.references != expected {
                return Err(Violation::References(pfn, frame.references, expected));
            }
            let only_pinned = frame.references == frame.pins && frame.pins > 0;
            let failed = frame.has_failed() && !only_pinned;
            if frame.is_user() && (failed || frame.references == 0) {
                return Err(Violation::PoisonInUse(pfn));
            }
            let unmapped = matches!(frame.state, FrameState::Free | FrameState::Tail);
            if unmapped && frame.mappers.has_room() {
                return Err(Violation::Room(pfn));
            }
            if frame.migrating || frame.writeback {
                return Err(Violation::Busy(pfn));
            }
            if frame.state == FrameState::Ksm && !self.ksm.lock().is_stable(pfn) {
                return Err(Violation::StableTree(pfn));
            }
            let anonymous = frame.state == FrameState::Anonymous;
            if anonymous && frame.pins > 0 && mappers.len() > 1 {
                return Err(Violation::PinShared(pfn));
            }
            let in_file = matches!(frame.state, FrameState::File { .. });
            if in_file && !mappers.is_empty() && slots.is_empty() {
                return Err(Violation::Slot(pfn));
            }
            let (state, huge, poisoned) = (frame.state, frame.huge, frame.poisoned);
            pool.total += u64::from(huge && frame.is_pooled());
            pool.free += u64::from(state == FrameState::Hugetlb);
            drop(frame);
            if state == FrameState::Free {
                free += 1;
                if pfn >= block_end {
                    let block = self.frames.free_block(pfn);
                    block_end = block.ok_or(Violation::Allocator(pfn))?.end;
                }
            }
            self.check_size(pfn, state, huge)?;
            if state == FrameState::Tail && poisoned && !self.is_damaged(pfn) {
                return Err(Violation::PoisonInUse(pfn));
            }
        }
        if pool != self.hugetlb_statistics() || pool.surplus > pool.total {
            return Err(Violation::Pool(self.hugetlb_statistics(), pool));
        }
        // The allocator has all that are free; so it has others if it has more.
        if free != self.free_frames() {
            return Err(Violation::AllocatorHas(self.free_frames(), free));
        }
        Ok(())
    }

    /// A huge page has all its tails, and a tail its head.
    fn check_size(&self, pfn: Pfn, state: FrameState, huge: bool) -> Result<(), Violation> {
        let is = |pfn: u64, what: fn(&Frame) -> bool| {
            self.frames.find(Pfn(pfn)).is_some_and(|frame| what(&frame))
        };
        let sound = match state {
            FrameState::Tail => is(self.frames.head_of(pfn).0, |head| head.huge),
            _ if huge => self
                .tails(pfn)
                .all(|tail| is(tail, |tail| tail.state == FrameState::Tail)),
            _ => true,
        };
        if sound {
            Ok(())
        } else {
            Err(Violation::Size(pfn))
        }
    }

    /// Whether a tail is of a huge page that nobody maps, because it could not be split.
    fn is_damaged(&self, tail: Pfn) -> bool {
        let head = self.frames.find(self.frames.head_of(tail));
        head.is_some_and(|head| head.is_damaged())
    }

    fn tails(&self, head: Pfn) -> core::ops::Range<u64> {
        head.0 + 1..head.0 + self.frames.pieces()
    }

    fn check_spaces(&self) -> Result<Named, Violation> {
        let Named {
            mut mapped,
            mut swapped,
            mut reserved,
        } = Named::default();
        for (_, space) in self.spaces.lock().iter() {
            let inner = space.inner.lock();
            if let Some(page) = inner.vmas.unmerged() {
                return Err(Violation::Unmerged(page));
            }
            let mut rest = PageRange::new(VirtualPage(0), pages_end::<M>());
            while let Some(range) = rest {
                let Some((pages, entry)) = inner.table.next(&self.machine, range) else {
                    break;
                };
                let page = pages.start();
                rest = PageRange::new(pages.end(), range.end());
                if matches!(entry, Entry::Reserved | Entry::Taken) {
                    let area = inner.vmas.find(page);
                    if area.is_none_or(|area| !area.is_pooled() || !area.pages.covers(pages)) {
                        return Err(Violation::Reservation(page));
                    }
                    reserved += u64::from(entry == Entry::Reserved);
                }
                let inside = |vma: &Vma| vma.pages.covers(pages);
                let inside = inner.vmas.find(page).is_some_and(inside);
                let pfn = match entry {
                    Entry::Page(pfn, _) | Entry::HwPoison(pfn) => pfn,
                    Entry::Migration(pfn) => return Err(Violation::Busy(pfn)),
                    Entry::Swap(slot) if inside => {
                        swapped.push(slot);
                        continue;
                    }
                    Entry::Swap(slot) => return Err(Violation::Swap(slot)),
                    Entry::Empty | Entry::Reserved | Entry::Taken => continue,
                };
                if !inside {
                    return Err(Violation::OutsideAreas(pfn));
                }
                if let Entry::Page(pfn, protection) = entry {
                    let frame = self.frames.lock_known(pfn);
                    if frame.huge != (pages.pages() > 1) {
                        return Err(Violation::Size(pfn));
                    }
                    let may_write = match frame.state {
                        FrameState::Anonymous => frame.mappers.len() == 1 && frame.slot.is_none(),
                        FrameState::Ksm => false,
                        _ => frame.dirty,
                    };
                    if protection.write && !may_write {
                        return Err(Violation::Writable(pfn));
                    }
                }
                if !matches!(entry, Entry::HwPoison(_)) {
                    mapped.push((pfn, Mapper::new(space.id, page)));
                }
            }
        }
        mapped.sort_unstable();
        swapped.sort_unstable();
        Ok(Named {
            mapped,
            swapped,
            reserved,
        })
    }

    /// Each slot in use is needed by so many entries as it counts, or by a page in memory that
    /// knows of it and nobody else; and no frame knows of another.
    fn check_swap(&self, swapped: &[SwapSlot]) -> Result<(), Violation> {
        let mut swapped = swapped;
        let used: Vec<_> = self.swap.lock().used().collect();
        for (slot, entries, cached) in &used {
            let naming = take_group(&mut swapped, |of| of == slot).len() as u32;
            let known = cached.is_none_or(|pfn| {
                let frame = self.frames.find(pfn);
                frame.is_some_and(|frame| {
                    let needed = *entries > 0 || !frame.mappers.is_empty();
                    needed && frame.is_in_swap_as(*slot)
                })
            });
            if naming != *entries || !known || naming == 0 && cached.is_none() {
                return Err(Violation::Swap(*slot));
            }
        }
        if let Some(slot) = swapped.first() {
            return Err(Violation::Swap(*slot));
        }
        let cached = |pfn| used.iter().any(|(.., cached)| *cached == Some(pfn));
        let mut unknown = self.frames.all().filter_map(|pfn| {
            let slot = self.frames.find(pfn)?.slot?;
            (!cached(pfn)).then_some(slot)
        });
        unknown
            .next()
            .map_or(Ok(()), |slot| Err(Violation::Swap(slot)))
    }

    /// The frames in page caches, in order; and how many slots are reservations.
    fn check_files(&self) -> Result<(Vec<Pfn>, u64), Violation> {
        let mut cached = Vec::new();
        let mut reserved = 0;
        for (_, file) in self.files.lock().iter() {
            reserved += file.reserved_slots();
            for (index, pfn) in file.frames() {
                let state = FrameState::File {
                    file: file.id(),
                    index,
                };
                if self.frame_use(pfn) != Some(state) {
                    return Err(Violation::Slot(pfn));
                }
                cached.push(pfn);
            }
        }
        cached.sort_unstable();
        match cached.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(Violation::Slot(twice[0])),
            None => Ok((cached, reserved)),
        }
    }
}

/// Splits the elements that satisfy `belongs` off the front.
fn take_group<'a, T>(from: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let count = from.iter().take_while(|element| belongs(element)).count();
    let (group, rest) = from.split_at(count);
    *from = rest;
    group
}
