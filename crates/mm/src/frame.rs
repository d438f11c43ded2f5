//! The frame table: one typed state per frame, counted references, and who maps it.
//!
//! Contents never pass through here. A [`UserFrame`] is a counted reference to a frame that users
//! own; only a [`Machine`] can look inside, and only by operations that can fail.
//! A [`KernelFrame`] is a frame of the kernel's: another type, which those operations refuse.
//!
//! A huge page is a naturally aligned block of frames. Its first frame, the head, has the state,
//! the flags and the mappers; the others are tails. A reference may name any piece of it: it is
//! counted in that piece, and in the head with all others. So a huge page can be split at any
//! time: whoever holds a piece goes on holding it.
//!
//! Locks: a frame's lock is taken after an address space's and a file's, and before the
//! allocator's. No two frames are locked at once, but a tail after its head.

mod pooled;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::lock::{Mutex, MutexGuard};

use crate::buddy::{Buddy, MAX_ORDER};
use crate::hugetlb::Pool;
use crate::machine::Permit;
use crate::rmap::Mappers;
use crate::{Allocation, Errno, FileId, Machine, Pfn, SwapSlot};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameState {
    /// Not ours to give: firmware, the kernel's image, holes.
    Reserved,
    /// In the allocator, or on its way out of it.
    Free,
    /// The kernel's own: its heap, its stacks.
    Kernel,
    /// A translation table of a program's.
    Table,
    /// Private memory of a process, or of several after a fork.
    Anonymous,
    /// A page of a file.
    File {
        /// The file.
        file: FileId,
        /// Which page of it.
        index: u32,
    },
    /// Private memory that pages share because its contents are equal. Nobody can store to it.
    Ksm,
    /// Taken out of the allocator by compaction, which gathers a block there.
    Claimed,
    /// A huge page that waits in the pool.
    Hugetlb,
    /// A piece of a huge page other than its first, which has the state of all.
    Tail,
    /// Has an uncorrectable error, and nobody uses it: never handed out again.
    Isolated,
}

impl FrameState {
    /// The state of one piece of a huge page with this state.
    fn of_piece(self, piece: u64) -> Self {
        match self {
            Self::File { file, index } => Self::File {
                file,
                index: index + piece as u32,
            },
            state => state,
        }
    }
}

/// What becomes of a huge page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HugeSort {
    /// It is split when somebody needs a part of it.
    Transparent,
    /// It belongs to the pool, and goes back there.
    Pooled,
    /// The same, but it was reserved for someone who has not mapped it yet: if it goes back, so
    /// does the reservation.
    Reserved,
    /// It could not be split when a piece of it failed: no new mapping.
    Damaged,
}

/// Everything the manager knows of one frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) state: FrameState,
    /// It has an uncorrectable error: no new mapping, and isolated with the last reference.
    pub(crate) poisoned: bool,
    /// A file page that differs from its store.
    pub(crate) dirty: bool,
    /// Being written to its store; not safe there yet.
    pub(crate) writeback: bool,
    /// Being moved, or leaving, or a huge page that is being filled or split: it gains no mapping.
    pub(crate) migrating: bool,
    /// Private memory that its process gave up (`MADV_FREE`): until someone stores to it, which
    /// entries do not allow without a fault, it may turn into zeros at any time.
    pub(crate) lazy_free: bool,
    /// How many corrected errors it has had, whoever used it.
    pub(crate) corrected: u16,
    /// Used since reclaim last looked at it.
    pub(crate) touched: bool,
    /// The head of a huge page.
    pub(crate) huge: bool,
    /// Of what sort the huge page is.
    pub(crate) sort: HugeSort,
    /// Where swap has private memory with the same contents.
    pub(crate) slot: Option<SwapSlot>,
    /// One per mapping, one of the page or swap cache, one per operation that holds it.
    pub(crate) references: u32,
    /// How many of the references are pins.
    pub(crate) pins: u32,
    /// How many of the pins may store to the frame.
    pub(crate) store_pins: u16,
    pub(crate) mappers: Mappers,
}

const _: () = assert!(
    size_of::<Mutex<Frame>>() <= 64,
    "frame metadata outgrew its budget"
);

impl Frame {
    const fn new(state: FrameState) -> Self {
        Self {
            state,
            poisoned: false,
            dirty: false,
            writeback: false,
            migrating: false,
            lazy_free: false,
            corrected: 0,
            touched: false,
            huge: false,
            sort: HugeSort::Transparent,
            slot: None,
            references: 0,
            pins: 0,
            store_pins: 0,
            mappers: Mappers::NONE,
        }
    }

    /// Whether its state is one in which users own the contents.
    pub(crate) fn is_user(&self) -> bool {
        self.is_private() || matches!(self.state, FrameState::File { .. })
    }

    /// Whether it is a process's own memory, shared at most until someone stores to it.
    pub(crate) fn is_private(&self) -> bool {
        matches!(self.state, FrameState::Anonymous | FrameState::Ksm)
    }

    /// Whether it is private memory that must be copied before one of its processes stores to it.
    pub(crate) fn is_shared(&self) -> bool {
        match self.state {
            FrameState::Anonymous => self.mappers.len() > 1,
            FrameState::Ksm => true,
            _ => false,
        }
    }

    /// Whether it is a page of the swap cache that has that slot, and may have one: nobody holds
    /// it for stores, and it is somebody's.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_in_swap_as(&self, slot: SwapSlot) -> bool {
        self.slot == Some(slot)
            && self.state == FrameState::Anonymous
            && !self.huge
            && !self.lazy_free
            && self.pins == 0
    }

    /// How many references there are if nobody but its mappers and swap has one.
    pub(crate) fn least_references(&self) -> u32 {
        self.mappers.len() as u32 + u32::from(self.slot.is_some())
    }

    /// Whether it has an error, so that it must not be mapped any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.poisoned || self.is_damaged()
    }

    /// Whether it is a huge page of which all is lost.
    pub(crate) fn is_damaged(&self) -> bool {
        self.sort == HugeSort::Damaged
    }

    /// Whether it is a huge page of the pool.
    pub(crate) fn is_pooled(&self) -> bool {
        matches!(self.sort, HugeSort::Pooled | HugeSort::Reserved)
    }

    /// Whoever reserved it has it now.
    pub(crate) fn take_reservation(&mut self) {
        if self.sort == HugeSort::Reserved {
            self.sort = HugeSort::Pooled;
        }
    }

    /// Ends the frame's life with its user.
    fn retire(&mut self) {
        debug_assert!(self.references == 0 && self.pins == 0 && self.mappers.is_empty());
        debug_assert!(self.slot.is_none());
        let poisoned = self.poisoned;
        self.renew(if poisoned {
            FrameState::Isolated
        } else {
            FrameState::Free
        });
        self.poisoned = poisoned;
    }

    /// Forgets everything but what is of the memory itself.
    fn renew(&mut self, state: FrameState) {
        *self = Self {
            corrected: self.corrected,
            ..Self::new(state)
        };
    }
}

/// A counted reference to a frame whose contents a user owns.
///
/// There is no way to a slice, reference or pointer to those contents:
///
/// ```compile_fail,E0599
/// fn peek(frame: &mm::UserFrame) -> u8 { frame.as_slice()[0] }
/// ```
///
/// and no way to ignore that reading them failed:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn merge<M: mm::Machine>(machine: &M, to: &mm::UserFrame, from: &mm::UserFrame) {
///     machine.copy_page(to, from);
/// }
/// ```
///
/// A reference cannot be duplicated or made up:
///
/// ```compile_fail,E0599
/// fn two(frame: &mm::UserFrame) -> mm::UserFrame { frame.clone() }
/// ```
/// ```compile_fail,E0423
/// let frame = mm::UserFrame(mm::Pfn(7));
/// ```
#[derive(Debug)]
#[must_use = "a reference that is dropped is a frame that is lost"]
pub struct UserFrame(Pfn);

impl UserFrame {
    /// Which frame it is.
    pub fn pfn(&self) -> Pfn {
        self.0
    }

    /// The reference that a translation table entry stands for.
    pub(crate) fn of_entry(pfn: Pfn) -> Self {
        Self(pfn)
    }

    /// One piece of the huge page whose head this is, for as long as this reference is there.
    pub(crate) fn with_piece<R>(&self, piece: u64, act: impl FnOnce(&Self) -> R) -> R {
        act(&Self(Pfn(self.0.0 + piece)))
    }

    /// Turns the reference into an entry of a translation table.
    pub(crate) fn into_entry(self) -> Pfn {
        self.0
    }
}

/// A frame of the kernel's own. It is not a [`UserFrame`], and so has none of the operations that
/// tolerate poison: the kernel cannot continue without it.
///
/// ```compile_fail,E0308
/// fn confuse<M: mm::Machine>(machine: &M, user: &mm::UserFrame) -> u64 {
///     machine.load_entry(user, 0)
/// }
/// ```
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost"]
pub struct KernelFrame(Pfn);

impl KernelFrame {
    /// Which frame it is.
    pub fn pfn(&self) -> Pfn {
        self.0
    }

    /// The table that a descriptor points to. The table that holds the descriptor owns it.
    pub(crate) fn of_descriptor(pfn: Pfn) -> Self {
        Self(pfn)
    }
}

/// Frames of the kernel's own that lie side by side: for stacks, the heap, buffers of devices.
#[derive(Debug)]
#[must_use = "a block that is dropped is lost"]
pub struct KernelBlock {
    start: Pfn,
    order: usize,
}

impl KernelBlock {
    /// The first of them.
    pub fn start(&self) -> Pfn {
        self.start
    }

    /// There are 2 to the power of this.
    pub fn order(&self) -> usize {
        self.order
    }
}

/// All frames of the machine.
#[derive(Debug)]
pub(crate) struct Frames {
    /// A multiple of the greatest block, so that blocks are naturally aligned.
    first: u64,
    frames: Vec<Mutex<Frame>>,
    huge_order: u32,
    buddy: Mutex<Buddy>,
    pool: Mutex<Pool>,
    /// How often there was no frame left: a statistic, by which an operation knows that it should
    /// reclaim.
    shortages: AtomicU64,
    /// Where reclaim looks next: any order will do.
    hand: AtomicUsize,
    /// How many frames have an error, isolated or not: a statistic.
    pub(crate) corrupted: AtomicU64,
}

/// The frame numbers in these ranges, in order, each once.
fn disjoint(ranges: &[Range<Pfn>]) -> Result<Vec<Range<u64>>, Errno> {
    let mut disjoint = Vec::new();
    disjoint
        .try_reserve_exact(ranges.len())
        .map_err(|_| Errno::ENOMEM)?;
    disjoint.extend(ranges.iter().map(|range| range.start.0..range.end.0));
    disjoint.sort_unstable_by_key(|range| range.start);
    let mut end = 0;
    for range in &mut disjoint {
        range.start = range.start.max(end);
        end = end.max(range.end);
    }
    disjoint.retain(|range| !range.is_empty());
    Ok(disjoint)
}

impl Frames {
    /// A table that spans `usable`, with those frames free and the holes between reserved. A huge
    /// page has `2^huge_order` frames.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no frame; `ENOMEM` if the heap cannot hold the table.
    pub(crate) fn new(usable: &[Range<Pfn>], huge_order: u32) -> Result<Self, Errno> {
        let usable = disjoint(usable)?;
        let (Some(lowest), Some(highest)) = (usable.first(), usable.last()) else {
            return Err(Errno::EINVAL);
        };
        let first = lowest.start >> MAX_ORDER << MAX_ORDER;
        let end = highest.end;
        let count = usize::try_from(end - first).map_err(|_| Errno::ENOMEM)?;
        let mut buddy = Buddy::new(count)?;
        let mut frames = Vec::new();
        frames.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        frames.resize_with(count, || Mutex::new(Frame::new(FrameState::Reserved)));
        for range in usable {
            let range = (range.start - first) as usize..(range.end - first) as usize;
            for frame in &mut frames[range.clone()] {
                frame.get_mut().state = FrameState::Free;
            }
            buddy.release_all(range);
        }
        Ok(Self {
            first,
            frames,
            huge_order,
            buddy: Mutex::new(buddy),
            pool: Mutex::new(Pool::new(count >> huge_order)?),
            shortages: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
            corrupted: AtomicU64::new(0),
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Pfn> {
        (0..self.frames.len() as u64).map(|index| Pfn(self.first + index))
    }

    pub(crate) fn free_frames(&self) -> usize {
        self.buddy.lock().free_frames()
    }

    /// The free block of the allocator that holds a frame of the table.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn free_block(&self, pfn: Pfn) -> Option<Range<Pfn>> {
        let index = (pfn.0 - self.first) as usize;
        let order = self.buddy.lock().order_of(index)?;
        let start = self.first + (index >> order << order) as u64;
        Some(Pfn(start)..Pfn(start + (1 << order)))
    }

    /// How many frames the table has.
    pub(crate) fn count(&self) -> usize {
        self.frames.len()
    }

    /// How often an allocation found no frame.
    pub(crate) fn shortages(&self) -> u64 {
        self.shortages.load(Ordering::Relaxed)
    }

    /// The next frame on an endless way around the table.
    pub(crate) fn next_candidate(&self) -> Pfn {
        let hand = self.hand.fetch_add(1, Ordering::Relaxed) % self.frames.len();
        Pfn(self.first + hand as u64)
    }

    fn index(&self, pfn: Pfn) -> Option<usize> {
        let index = usize::try_from(pfn.0.checked_sub(self.first)?).ok()?;
        (index < self.frames.len()).then_some(index)
    }

    /// The first frame number beyond the table.
    pub(crate) fn end(&self) -> Pfn {
        Pfn(self.first + self.frames.len() as u64)
    }

    /// The frame, locked, or `None` if it is outside the table.
    pub(crate) fn find(&self, pfn: Pfn) -> Option<MutexGuard<'_, Frame>> {
        Some(self.frames[self.index(pfn)?].lock())
    }

    /// The frame, locked, or `None` if it is outside the table or someone has the lock.
    pub(crate) fn try_find(&self, pfn: Pfn) -> Option<MutexGuard<'_, Frame>> {
        self.frames[self.index(pfn)?].try_lock()
    }

    /// The frame that a reference names.
    pub(crate) fn lock(&self, frame: &UserFrame) -> MutexGuard<'_, Frame> {
        self.lock_known(frame.pfn())
    }

    /// A frame that an entry, a slot or a reference names, and which is therefore in the table.
    /// Of a piece of a huge page it is the head.
    pub(crate) fn lock_known(&self, pfn: Pfn) -> MutexGuard<'_, Frame> {
        loop {
            let frame = self.lock_exactly(pfn);
            if frame.state != FrameState::Tail {
                return frame;
            }
            drop(frame);
            let head = self.lock_exactly(self.head_of(pfn));
            if head.huge {
                return head;
            }
            // It was split in between.
        }
    }

    /// The very frame, be it a tail.
    fn lock_exactly(&self, pfn: Pfn) -> MutexGuard<'_, Frame> {
        self.frames[(pfn.0 - self.first) as usize].lock()
    }

    /// What a frame, or the huge page it is in, is used for.
    pub(crate) fn use_of(&self, pfn: Pfn) -> FrameState {
        let frame = self.lock_known(pfn);
        if frame.huge {
            frame.state.of_piece(pfn.0 - self.head_of(pfn).0)
        } else {
            frame.state
        }
    }

    /// The head of the huge page that `pfn` is in, if it is in one.
    pub(crate) fn head_of(&self, pfn: Pfn) -> Pfn {
        Pfn(pfn.0 >> self.huge_order << self.huge_order)
    }

    /// The tails of a huge page.
    fn tails(&self, head: Pfn) -> impl Iterator<Item = Pfn> + use<> {
        (head.0 + 1..head.0 + (1 << self.huge_order)).map(Pfn)
    }

    /// The pieces of a huge page.
    pub(crate) fn pieces(&self) -> u64 {
        1 << self.huge_order
    }

    /// Allocates a frame for a user. Its contents are whatever they were.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn allocate_user<M: Machine>(
        &self,
        machine: &M,
        state: FrameState,
    ) -> Result<UserFrame, Errno> {
        let pfn = self.allocate(machine, state)?;
        debug_assert!(self.lock_known(pfn).is_user());
        Ok(UserFrame(pfn))
    }

    /// Allocates a frame for a translation table.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn allocate_table<M: Machine>(&self, machine: &M) -> Result<KernelFrame, Errno> {
        self.allocate(machine, FrameState::Table).map(KernelFrame)
    }

    /// Allocates a block of `2^order` frames for the kernel.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn allocate_block(&self, order: usize) -> Result<KernelBlock, Errno> {
        'blocks: loop {
            let first = self.buddy.lock().allocate(order).ok_or(Errno::ENOMEM)?;
            let block = first..first + (1 << order);
            for index in block.clone() {
                let mut frame = self.frames[index].lock();
                debug_assert_eq!(frame.state, FrameState::Free);
                if frame.poisoned {
                    // It was found to be poisoned while it was on its way here: the kernel gets
                    // another block, and the rest of this one goes back.
                    frame.state = FrameState::Isolated;
                    drop(frame);
                    self.give_back(block.start..index);
                    self.give_back(index + 1..block.end);
                    continue 'blocks;
                }
                frame.state = FrameState::Kernel;
                frame.references = 1;
            }
            return Ok(KernelBlock {
                start: Pfn(self.first + first as u64),
                order,
            });
        }
    }

    fn give_back(&self, frames: Range<usize>) {
        for index in frames {
            let mut frame = self.frames[index].lock();
            frame.references = 0;
            self.retire(&mut frame, Pfn(self.first + index as u64));
        }
    }

    /// Frees a block of the kernel's; frames of it that are poisoned are isolated.
    pub(crate) fn free_block_of(&self, block: &KernelBlock) {
        let first = (block.start.0 - self.first) as usize;
        self.give_back(first..first + (1 << block.order));
    }

    fn allocate<M: Machine>(&self, machine: &M, state: FrameState) -> Result<Pfn, Errno> {
        if !machine.admit(Allocation::Frame) {
            return Err(Errno::ENOMEM);
        }
        loop {
            let Some(index) = self.buddy.lock().allocate(0) else {
                self.shortages.fetch_add(1, Ordering::Relaxed);
                return Err(Errno::ENOMEM);
            };
            let mut frame = self.frames[index].lock();
            debug_assert_eq!(frame.state, FrameState::Free);
            if frame.poisoned {
                // It was found to be poisoned while it was on its way here.
                frame.state = FrameState::Isolated;
                continue;
            }
            frame.state = state;
            frame.references = 1;
            return Ok(Pfn(self.first + index as u64));
        }
    }

    /// Allocates a huge page for a user. Its contents are whatever they were. While it counts as
    /// migrating it is not split, so that the caller can fill it as a whole.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn allocate_huge<M: Machine>(
        &self,
        machine: &M,
        state: FrameState,
    ) -> Result<UserFrame, Errno> {
        let (pfn, mut head) = self.take_block(machine)?;
        head.state = state;
        head.references = 1;
        head.migrating = true;
        Ok(UserFrame(pfn))
    }

    /// Takes a huge page out of the allocator, with its head locked. It has no state yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn take_block<M: Machine>(&self, machine: &M) -> Result<(Pfn, MutexGuard<'_, Frame>), Errno> {
        if !machine.admit(Allocation::Frame) {
            return Err(Errno::ENOMEM);
        }
        loop {
            let index = self.buddy.lock().allocate(self.huge_order as usize);
            let pfn = Pfn(self.first + index.ok_or(Errno::ENOMEM)? as u64);
            let mut head = self.lock_exactly(pfn);
            let mut sound = !head.poisoned;
            for tail in self.tails(pfn) {
                let mut tail = self.lock_exactly(tail);
                debug_assert_eq!(tail.state, FrameState::Free);
                sound &= !tail.poisoned;
                tail.state = FrameState::Tail;
            }
            head.huge = true;
            if sound {
                return Ok((pfn, head));
            }
            // A piece was found to be poisoned while it was on its way here.
            self.retire(&mut head, pfn);
        }
    }

    /// A reference to a piece of a huge page, if that is what `pfn` is. Whoever calls has none.
    pub(crate) fn get_piece(&self, pfn: Pfn) -> Option<UserFrame> {
        self.index(pfn)?;
        let mut head = self.lock_exactly(self.head_of(pfn));
        if !head.huge || head.state == FrameState::Hugetlb {
            return None;
        }
        self.refer(&mut head, pfn);
        Some(UserFrame(pfn))
    }

    /// Counts a reference to a locked frame, or to a piece of which it is the head.
    fn refer(&self, frame: &mut Frame, pfn: Pfn) {
        self.each_count_of(frame, pfn, |frame| frame.references += 1);
    }

    /// Another reference to a locked frame, or to a piece of which it is the head.
    pub(crate) fn get_locked(&self, frame: &mut Frame, pfn: Pfn) -> UserFrame {
        self.refer(frame, pfn);
        UserFrame(pfn)
    }

    /// Makes a reference to a locked frame, or to a piece of which it is the head, a pin.
    pub(crate) fn pin(&self, frame: &mut Frame, pfn: Pfn, stores: bool) -> UserFrame {
        self.refer(frame, pfn);
        self.each_count_of(frame, pfn, |frame| {
            frame.pins += 1;
            frame.store_pins += u16::from(stores);
        });
        UserFrame(pfn)
    }

    /// Makes a pin a mere reference again.
    pub(crate) fn unpin(&self, frame: &mut Frame, pin: &UserFrame, stores: bool) {
        self.each_count_of(frame, pin.pfn(), |frame| {
            frame.pins -= 1;
            frame.store_pins -= u16::from(stores);
        });
    }

    /// Changes the counts of a frame, or those of a piece and of its head.
    fn each_count_of(&self, frame: &mut Frame, pfn: Pfn, change: impl Fn(&mut Frame)) {
        change(frame);
        if frame.huge && pfn != self.head_of(pfn) {
            change(&mut self.lock_exactly(pfn));
        }
    }

    /// Makes the pieces of a huge page frames of their own. Each has the mappers that the whole
    /// had, at its own pages; there must be room for them.
    /// Returns how many pieces nobody needed any more.
    pub(crate) fn split(&self, reference: &UserFrame) -> usize {
        let mut freed = 0;
        let head_pfn = self.head_of(reference.0);
        let mut head = self.lock_exactly(head_pfn);
        debug_assert!(head.huge);
        head.huge = false;
        head.migrating = false;
        self.leave_pool(&mut head);
        for (piece, pfn) in (1..).zip(self.tails(head_pfn)) {
            let mut tail = self.lock_exactly(pfn);
            head.references -= tail.references;
            head.pins -= tail.pins;
            head.store_pins -= tail.store_pins;
            tail.lazy_free = head.lazy_free;
            tail.touched = head.touched;
            tail.references += head.mappers.len() as u32;
            tail.dirty = head.dirty;
            tail.state = head.state.of_piece(piece);
            for mapper in head.mappers.as_slice() {
                tail.mappers.insert_reserved(mapper.offset(piece));
            }
            if tail.references == 0 {
                self.retire(&mut tail, pfn);
                freed += 1;
            }
        }
        // Whoever unmapped it last while this began left its pieces to us.
        if head.references == 0 {
            self.retire(&mut head, head_pfn);
            freed += 1;
        }
        freed
    }

    /// Makes room for as many mappers in each tail as the head has.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; there is no more room than before.
    pub(crate) fn reserve_split(
        &self,
        reference: &UserFrame,
        count: usize,
        mut permit: impl FnMut() -> Permit,
    ) -> Result<(), Errno> {
        if count < 2 {
            return Ok(());
        }
        let reserve = |pfn| {
            let mut tail = self.lock_exactly(pfn);
            tail.mappers.reserve(permit(), count)
        };
        let head = self.head_of(reference.0);
        self.tails(head)
            .try_for_each(reserve)
            .inspect_err(|_| self.unreserve_split(reference))
    }

    /// Gives back the room in the tails.
    pub(crate) fn unreserve_split(&self, reference: &UserFrame) {
        for pfn in self.tails(self.head_of(reference.0)) {
            self.lock_exactly(pfn).mappers = Mappers::NONE;
        }
    }

    /// Another reference to a frame of which the caller knows that it has one: by a table entry
    /// or a slot of the page cache, under the lock that protects it.
    pub(crate) fn get(&self, pfn: Pfn) -> UserFrame {
        let mut frame = self.lock_known(pfn);
        debug_assert!(frame.is_user() && frame.references > 0);
        self.refer(&mut frame, pfn);
        UserFrame(pfn)
    }

    /// As [`get`](Self::get), for someone who uses the contents now.
    pub(crate) fn get_to_use(&self, pfn: Pfn) -> UserFrame {
        let mut frame = self.lock_known(pfn);
        debug_assert!(frame.is_user() && frame.references > 0);
        frame.touched = true;
        self.refer(&mut frame, pfn);
        UserFrame(pfn)
    }

    /// Gives a reference back. With the last one the frame is free, or isolated if poisoned.
    pub(crate) fn put(&self, reference: UserFrame) {
        let mut frame = self.lock(&reference);
        debug_assert!(frame.is_user());
        self.each_count_of(&mut frame, reference.0, |frame| frame.references -= 1);
        if frame.references == 0 {
            let pfn = match frame.huge {
                true => self.head_of(reference.0),
                false => reference.0,
            };
            self.retire(&mut frame, pfn);
        }
    }

    /// Frees the frame of a translation table, or isolates it if poisoned.
    pub(crate) fn free_table(&self, table: KernelFrame) {
        let mut frame = self.lock_known(table.0);
        debug_assert_eq!(frame.state, FrameState::Table);
        frame.references = 0;
        self.retire(&mut frame, table.0);
    }

    /// The allocator gets the frame while it is locked, so that whoever finds it poisoned and
    /// free finds it in the allocator. Of a huge page it gets every piece that is sound; but one of
    /// the pool goes back there, if all of it is.
    fn retire(&self, frame: &mut Frame, pfn: Pfn) {
        if frame.is_pooled() && self.return_to_pool(frame, pfn) {
            return;
        }
        if frame.huge {
            for tail in self.tails(pfn) {
                self.retire(&mut self.lock_exactly(tail), tail);
            }
        }
        frame.retire();
        if !frame.poisoned {
            self.buddy.lock().release((pfn.0 - self.first) as usize, 0);
        }
    }

    /// Marks a locked frame as poisoned. Returns whether it was not before.
    pub(crate) fn mark_poisoned(&self, frame: &mut Frame) -> bool {
        if !frame.poisoned {
            frame.poisoned = true;
            self.corrupted.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Takes a free, locked frame out of the allocator for good. Returns `false` if it is on its
    /// way out, in which case whoever allocates it isolates it.
    pub(crate) fn isolate_free(&self, frame: &mut Frame, pfn: Pfn) -> bool {
        let taken = self.buddy.lock().take((pfn.0 - self.first) as usize);
        if taken {
            frame.state = FrameState::Isolated;
        }
        taken
    }

    /// Whether a block of `2^order` frames is free, or a greater one.
    pub(crate) fn has_free_block(&self, order: usize) -> bool {
        self.buddy.lock().has_block(order)
    }

    pub(crate) fn free_blocks(&self) -> [usize; MAX_ORDER + 1] {
        let buddy = self.buddy.lock();
        core::array::from_fn(|order| buddy.free_blocks(order))
    }

    /// All whole blocks of `2^order` frames, the highest first.
    pub(crate) fn blocks(&self, order: usize) -> impl Iterator<Item = Range<Pfn>> + use<> {
        let first = self.first;
        let size = 1 << order;
        let blocks = self.frames.len() as u64 / size;
        (0..blocks).rev().map(move |block| {
            let start = first + block * size;
            Pfn(start)..Pfn(start + size)
        })
    }

    /// Claims a frame, if it is in the allocator.
    pub(crate) fn claim_free(&self, pfn: Pfn) -> bool {
        let Some(mut frame) = self.find(pfn) else {
            return false;
        };
        let claimed = frame.state == FrameState::Free
            && self.buddy.lock().take((pfn.0 - self.first) as usize);
        if claimed {
            frame.state = FrameState::Claimed;
        }
        claimed
    }

    /// Claims a frame instead of giving the last reference back. Returns `false` if it is not
    /// the last; the caller keeps it.
    pub(crate) fn claim_held(&self, reference: &UserFrame) -> bool {
        let mut frame = self.lock(reference);
        if frame.references != 1 {
            return false;
        }
        frame.references = 0;
        frame.renew(FrameState::Claimed);
        true
    }

    /// Gives the frames of a block back that are claimed, but isolates those that were found to
    /// be poisoned meanwhile. The caller keeps errors away; and says whether all are claimed: if
    /// they are sound as well, they are free as one block.
    pub(crate) fn release_claimed(&self, block: Range<Pfn>, all: bool) {
        let mut sound = all;
        for pfn in (block.start.0..block.end.0).map(Pfn) {
            let mut frame = self.lock_known(pfn);
            if frame.state == FrameState::Claimed && frame.poisoned {
                frame.state = FrameState::Isolated;
                sound = false;
            }
        }
        for pfn in (block.start.0..block.end.0).map(Pfn) {
            let mut frame = self.lock_known(pfn);
            if frame.state == FrameState::Claimed {
                frame.state = FrameState::Free;
                if !sound {
                    self.buddy.lock().release((pfn.0 - self.first) as usize, 0);
                }
            }
        }
        if sound {
            let order = (block.end.0 - block.start.0).trailing_zeros() as usize;
            let start = (block.start.0 - self.first) as usize;
            self.buddy.lock().release(start, order);
        }
    }

    /// Makes an isolated, locked frame free again.
    pub(crate) fn restore(&self, frame: &mut Frame, pfn: Pfn) {
        frame.poisoned = false;
        self.corrupted.fetch_sub(1, Ordering::Relaxed);
        self.retire(frame, pfn);
    }
}
