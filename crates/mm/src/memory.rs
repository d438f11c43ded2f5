//! The memory manager as a whole, and the address spaces in it.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::lock::Mutex;

use crate::calls::advised_range;
use crate::failure::Failures;
use crate::frame::Frames;
use crate::huge::SharedPolicy;
use crate::khugepaged::Khugepaged;
use crate::ksm::{Ksm, Membership};
use crate::machine::Permit;
use crate::map::OrderedMap;
use crate::rmap::Mapper;
use crate::swap::Swap;
use crate::table::{PageTable, pages_end};
use crate::vma::{Sharing, Vmas};
use crate::{
    Entry, Errno, File, FileId, FrameState, KernelBlock, Locking, Machine, Pfn, UserFrame,
    VirtualAddress,
};

/// The name of an address space. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub(crate) u32);

impl SpaceId {
    /// A [`Mapper`] has room for 28 bits, and not all of them are ones.
    const LIMIT: u32 = (1 << 28) - 1;

    /// The number, at least 1 and less than 2^28.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// An address space: the handle of whoever runs in it. Ends with
/// [`destroy`](Memory::destroy); just dropping it keeps the memory for ever.
#[derive(Debug)]
#[must_use = "an address space that is dropped is never freed"]
pub struct AddressSpace(pub(crate) Arc<Space>);

impl AddressSpace {
    /// Its name.
    pub fn id(&self) -> SpaceId {
        self.0.id
    }

    /// When its process is told of memory that it loses.
    pub fn kill_policy(&self) -> KillPolicy {
        self.0.kill_policy()
    }

    /// Sets it. A fork inherits it.
    pub fn set_kill_policy(&self, policy: KillPolicy) {
        let number = match policy {
            KillPolicy::Default => DEFAULT,
            KillPolicy::Early => EARLY,
            KillPolicy::Late => LATE,
        };
        self.0.kill_policy.store(number, Ordering::Relaxed);
    }
}

/// What is known of a frame, as `/proc/kpageflags` and `/proc/kpagecount` tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFacts {
    /// What it is.
    pub state: FrameState,
    /// Part of a huge page.
    pub huge: bool,
    /// Its memory has failed.
    pub failed: bool,
    /// How many table entries map it; a huge page's are its first frame's.
    pub mappings: usize,
}

/// When a process is told of memory that it loses and has not touched yet (`PR_MCE_KILL`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillPolicy {
    /// As [`Memory::early_kill`] says.
    #[default]
    Default,
    /// At once.
    Early,
    /// When it touches it.
    Late,
}

const DEFAULT: u8 = 0;
const EARLY: u8 = 1;
const LATE: u8 = 2;

impl Space {
    pub(crate) fn kill_policy(&self) -> KillPolicy {
        match self.kill_policy.load(Ordering::Relaxed) {
            EARLY => KillPolicy::Early,
            LATE => KillPolicy::Late,
            _ => KillPolicy::Default,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: SpaceId,
    /// A setting: any value that it has meanwhile will do.
    kill_policy: AtomicU8,
    pub(crate) merging: Membership,
    pub(crate) inner: Mutex<Inner>,
}

/// What an address space's lock protects.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) vmas: Vmas,
    /// How a new area starts.
    pub(crate) lock_later: Locking,
    pub(crate) table: PageTable,
}

/// The memory manager. All operations take `&self`; see the crate's documentation for the locks.
#[derive(Debug)]
pub struct Memory<M> {
    pub(crate) machine: M,
    pub(crate) frames: Frames,
    total: usize,
    pub(crate) spaces: Mutex<OrderedMap<SpaceId, Arc<Space>>>,
    pub(crate) files: Mutex<OrderedMap<FileId, Arc<File>>>,
    /// Numbers that were not given yet, here and below: only that each is given once matters.
    pub(crate) next_space: AtomicU32,
    pub(crate) next_file: AtomicU32,
    pub(crate) failures: Failures,
    /// Keeps compaction to one block at a time. Taken before the lock of errors.
    pub(crate) emptying: Mutex<()>,
    pub(crate) ksm: Mutex<Ksm>,
    pub(crate) swap: Mutex<Swap>,
    pub(crate) huge_policy: SharedPolicy,
    pub(crate) khugepaged: Mutex<Khugepaged>,
}

impl<M: Machine> Memory<M> {
    /// A manager of the frames in `usable`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are none; `ENOMEM` if the heap cannot hold the frame table, which takes
    /// at most 64 bytes for each frame from the first to the last.
    pub fn new(machine: M, usable: &[Range<Pfn>]) -> Result<Self, Errno> {
        let frames = Frames::new(usable, M::INDEX_BITS)?;
        Ok(Self {
            machine,
            total: frames.free_frames(),
            frames,
            spaces: Mutex::new(OrderedMap::new()),
            files: Mutex::new(OrderedMap::new()),
            next_space: AtomicU32::new(1),
            next_file: AtomicU32::new(1),
            failures: Failures::new(),
            emptying: Mutex::new(()),
            ksm: Mutex::new(Ksm::new()),
            swap: Mutex::new(Swap::new()),
            huge_policy: SharedPolicy::new(),
            khugepaged: Mutex::new(Khugepaged::new(1 << M::INDEX_BITS)),
        })
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// How many frames it was given.
    pub fn total_frames(&self) -> usize {
        self.total
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> usize {
        self.frames.free_frames()
    }

    /// What a frame is, or `None` if it is outside the table.
    pub fn frame_state(&self, pfn: Pfn) -> Option<FrameState> {
        self.frames.find(pfn).map(|frame| frame.state)
    }

    /// The first frame number beyond the table.
    pub fn frames_end(&self) -> Pfn {
        self.frames.end()
    }

    /// What can be told of a frame, or `None` if it is outside the table.
    pub fn frame_facts(&self, pfn: Pfn) -> Option<FrameFacts> {
        self.frames.find(pfn).map(|frame| FrameFacts {
            state: frame.state,
            huge: frame.huge,
            failed: frame.has_failed() || frame.state == FrameState::Isolated,
            mappings: frame.mappers.len(),
        })
    }

    /// Allocates `2^order` frames for the kernel's own use, whatever
    /// [`admit`](Machine::admit) would say: the reserve is kept for this. `order` is at most
    /// [`MAX_ORDER`](crate::MAX_ORDER).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn allocate_kernel(&self, order: usize) -> Result<KernelBlock, Errno> {
        self.frames.allocate_block(order)
    }

    /// Frees what [`allocate_kernel`](Self::allocate_kernel) gave.
    pub fn free_kernel(&self, block: KernelBlock) {
        self.frames.free_block_of(&block);
    }

    /// What a frame is, or `None` also if someone is changing that right now: for reports from
    /// where a lock cannot be waited for.
    pub fn try_frame_state(&self, pfn: Pfn) -> Option<FrameState> {
        self.frames.try_find(pfn).map(|frame| frame.state)
    }

    /// What a frame is used for: as [`frame_state`](Self::frame_state), but of a piece of a huge
    /// page what it would be if that were split.
    pub fn frame_use(&self, pfn: Pfn) -> Option<FrameState> {
        self.frames.find(pfn)?;
        Some(self.frames.use_of(pfn))
    }

    pub(crate) fn permit(&self) -> Permit {
        Permit::ask(&self.machine)
    }

    /// An empty address space.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn create(&self) -> Result<AddressSpace, Errno> {
        self.with_reclaim(|| self.try_create())
    }

    pub(crate) fn try_create(&self) -> Result<AddressSpace, Errno> {
        let permit = self.permit();
        let id = SpaceId(self.next_space.fetch_add(1, Ordering::Relaxed));
        if id.0 >= SpaceId::LIMIT {
            return Err(Errno::ENOMEM);
        }
        let table = PageTable::new(&self.machine, &self.frames, id)?;
        let space = Arc::new(Space {
            id,
            kill_policy: AtomicU8::new(DEFAULT),
            merging: Membership::new(),
            inner: Mutex::new(Inner {
                vmas: Vmas::new(pages_end::<M>()),
                lock_later: Locking::Unlocked,
                table,
            }),
        });
        if let Err(error) = self.spaces.lock().insert(permit, id, Arc::clone(&space)) {
            space.inner.lock().table.free(&self.machine, &self.frames);
            return Err(error);
        }
        Ok(AddressSpace(space))
    }

    /// Unmaps everything and frees the tables: at exit, and of the old space at exec. No CPU may
    /// run in the space any more.
    pub fn destroy(&self, space: AddressSpace) {
        let mut inner = space.0.inner.lock();
        self.unmap_all(space.0.id, &mut inner);
        inner.table.free(&self.machine, &self.frames);
        drop(inner);
        self.spaces.lock().remove(space.0.id);
    }

    /// The table that the hardware walker starts from (TTBR0).
    pub fn root(&self, space: &AddressSpace) -> Pfn {
        space.0.inner.lock().table.root().pfn()
    }

    /// The table entry for an address, as `/proc/pid/pagemap` shows it.
    pub fn entry(&self, space: &AddressSpace, address: VirtualAddress) -> Entry {
        if address.page() >= pages_end::<M>() {
            return Entry::Empty;
        }
        space
            .0
            .inner
            .lock()
            .table
            .get(&self.machine, address.page())
    }

    /// The file and the page of it that an address shows, if stores to it reach the file: what
    /// other spaces know the same memory by.
    pub fn shared_page(
        &self,
        space: &AddressSpace,
        address: VirtualAddress,
    ) -> Option<(FileId, u32)> {
        let inner = space.0.inner.lock();
        let vma = inner.vmas.find(address.page())?;
        let (file, index) = vma.file_page(address.page())?;
        (vma.sharing == Sharing::Shared).then(|| (file.id(), index))
    }

    /// Whether all pages of a range are mapped: for calls that have nothing else to do.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the start is unaligned, or the range wraps around. `ENOMEM`: a page is not mapped.
    pub fn check_mapped(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
    ) -> Result<(), Errno> {
        match advised_range(start, length)? {
            Some(pages) if !space.0.inner.lock().vmas.covers(pages) => Err(Errno::ENOMEM),
            _ => Ok(()),
        }
    }

    /// Whether a load would find its page in memory (`mincore`): in the space, or in the cache of
    /// the file that is mapped.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing is mapped there.
    pub fn is_resident(
        &self,
        space: &AddressSpace,
        address: VirtualAddress,
    ) -> Result<bool, Errno> {
        let inner = space.0.inner.lock();
        let page = address.page();
        if page >= pages_end::<M>() {
            return Err(Errno::ENOMEM);
        }
        let vma = inner.vmas.find(page).ok_or(Errno::ENOMEM)?;
        let in_table = matches!(inner.table.get(&self.machine, page), Entry::Page(..));
        let in_cache = || {
            vma.file_page(page)
                .is_some_and(|(file, index)| file.is_cached(index))
        };
        Ok(in_table || in_cache())
    }

    /// How many areas the space has.
    pub fn areas(&self, space: &AddressSpace) -> usize {
        space.0.inner.lock().vmas.len()
    }

    pub(crate) fn find_space(&self, id: SpaceId) -> Option<Arc<Space>> {
        self.spaces.lock().get(id).cloned()
    }

    /// Ends a mapping that was flushed: forgets the mapper, and gives its reference back.
    pub(crate) fn end_mapping(&self, mapper: Mapper, frame: UserFrame) {
        {
            let mut frame = self.frames.lock(&frame);
            frame.mappers.remove(mapper);
            // A frame that a page moves to needs its room for those that are still to come.
            if !frame.migrating {
                frame.mappers.shrink();
            }
            if frame.mappers.is_empty() {
                self.leave_swap(&mut frame);
            }
        }
        self.frames.put(frame);
    }

    /// Calls `visit` for each mapper of a frame to which no mapper can be added, or only such as
    /// need no visit, with the space locked; and `after` for each space with its least mapper,
    /// with nothing locked. `visit` may remove the mapper.
    pub(crate) fn for_each_mapper(
        &self,
        frame: &UserFrame,
        mut visit: impl FnMut(&Space, &mut Inner, Mapper),
        mut after: impl FnMut(&Space, Mapper),
    ) {
        let mut from = Mapper::new(SpaceId(0), crate::VirtualPage(0));
        loop {
            let Some(first) = self.frames.lock(frame).mappers.from(from) else {
                return;
            };
            let Some(space) = self.find_space(first.space()) else {
                // The space has just ended, and its mappers with it: look again.
                crate::lock::relax();
                continue;
            };
            // All of a space at once: a page that moves within it moves before or after.
            let mut inner = space.inner.lock();
            from = Mapper::new(space.id, crate::VirtualPage(0));
            let mut least = None;
            loop {
                let mapper = self.frames.lock(frame).mappers.from(from);
                let Some(mapper) = mapper.filter(|mapper| mapper.space() == space.id) else {
                    break;
                };
                visit(&space, &mut inner, mapper);
                least.get_or_insert(mapper);
                from = mapper.following();
            }
            drop(inner);
            if let Some(mapper) = least {
                after(&space, mapper);
            }
            from = Mapper::new(SpaceId(space.id.0 + 1), crate::VirtualPage(0));
        }
    }
}
