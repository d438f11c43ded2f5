//! A memory manager in which memory that users own can only be read by operations that can fail.
//!
//! Pure logic over a small [`Machine`]: it runs on simulated memory under test, and on the direct
//! map and the mc-safe copies in a kernel.
//!
//! # The types
//!
//! * [`UserFrame`]: a counted reference to a frame whose contents belong to users. The crate never
//!   sees those contents. It hands the reference to a [`Machine`], whose reads return
//!   [`Poisoned`], and undoes what it was doing. There is no slice, reference or pointer.
//! * [`KernelFrame`]: a translation table. Another type; the operations do not mix.
//! * `Unmapped`, `Stale` (private): what CPUs may still have in their translation caches. A frame
//!   comes out of an `Unmapped` only by an invalidation.
//! * `Permit` (private): without one, nothing on the heap grows; so tests can refuse each one.
//!
//! # Locks
//!
//! Every operation takes `&self`, and any number of CPUs may be in here. From the outside in:
//!
//! 1. the lock that makes errors, moves and reclaim one at a time ([`Memory::memory_failure`]), and
//!    inside it the one of the trees of merged pages;
//! 2. an address space: its areas and tables. Only fork holds two, the older one first;
//! 3. a file's cache;
//! 4. a frame; never two, but a tail of a huge page after its head;
//! 5. the allocator; the pool; the slots of swap; the lists of spaces and files; a file's list of
//!    spaces. None of them holds another.
//!
//! So faults of different processes run side by side, and those of one process one at a time.
//! Locks spin: whoever calls must not be preempted while inside, nor call from an interrupt.
//!
//! A copy may happen under a space's lock. If it fails, everything is put back before the lock is
//! released; only then is the frame isolated, which locks the spaces that map it, one by one. What
//! keeps new mappings away meanwhile is a flag in the frame, which everyone who maps a frame
//! checks under the frame's lock. Stores are read and written, and processes told, with no lock
//! held but that of 1.
//!
//! # What an error does
//!
//! * A read fails in the middle of an operation: the operation is undone, the frame is isolated,
//!   and the operation starts again. If the page was a clean one of a file it now succeeds.
//!   Otherwise it meets what the isolation left, and its caller gets `SIGBUS` or an error number.
//! * [`Memory::memory_failure`] is called for memory that user space consumed, or that a patrol
//!   scrubber found.
//! * A dirty page of a file that fails leaves a mark: nobody reads the older version from the
//!   store instead.
//!
//! # When memory is short
//!
//! What fails for lack of frames is undone, drops its locks, reclaims and starts again. Clean pages
//! of files go, and private ones that their process gave up; not what is locked, pinned or in use.
//!
//! If the machine has a swap store, other private pages go there. Until it is stored to, a page
//! that came back is clean: it leaves again without being written, and an error loses nothing.
//!
//! # Huge pages
//!
//! A huge page is a block of frames whose head has all that is known of it. It is mapped by whole
//! blocks of the tables above the last; whoever needs a part of one drops its locks, splits it and
//! starts again. An error in one takes 4 KiB of it, unless it is private and there is no memory to
//! split it with.
//! khugepaged and `MADV_COLLAPSE` make huge pages of small ones.
//!
//! hugetlb is a pool of huge pages that mappings reserve ([`Source::Hugetlb`],
//! [`FileKind::Hugetlb`]). Nobody splits those but an error in one, which takes 4 KiB from its users
//! and one page from the pool.
//!
//! # What is not here
//!
//! Per-CPU lists of free frames.

#![cfg_attr(not(any(test, feature = "sim")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod advice;
mod areas;
mod bitmap;
mod buddy;
mod calls;
#[cfg(any(test, feature = "sim"))]
mod check;
mod compact;
mod corrected;
mod entry;
mod errno;
mod failure;
mod fault;
mod file;
mod fork;
mod frame;
mod huge;
mod hugetlb;
mod khugepaged;
mod ksm;
mod lock;
mod machine;
mod map;
mod memory;
mod migrate;
mod mlock;
mod pin;
mod reclaim;
mod remap;
mod rmap;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod swap;
mod table;
mod unmap;
mod users;
mod vma;

pub use address::{
    ADDRESS_BITS, PAGE_SHIFT, PAGE_SIZE, PAGES_END, PageRange, Pfn, VirtualAddress, VirtualPage,
};
pub use areas::{Area, AreaFile, Dumped};
pub use buddy::MAX_ORDER;
pub use calls::{Advice, Placement, Source};
#[cfg(any(test, feature = "sim"))]
pub use check::Violation;
pub use corrected::Corrected;
pub use entry::{Access, Entry, Protection};
pub use errno::Errno;
pub use failure::{Action, Consumer, Context, PageType, Report, Statistics, Victim};
pub use fault::{BusCode, Outcome, SegvCode, Sigbus};
pub use file::{File, FileId, FileKind, Halt, Halted};
pub use frame::{FrameState, KernelBlock, KernelFrame, UserFrame};
pub use huge::{HugeAdvice, HugePolicy};
pub use hugetlb::HugetlbStatistics;
pub use khugepaged::KhugepagedStatistics;
pub use ksm::KsmStatistics;
pub use machine::{Allocation, Machine, Poisoned, StoreError};
pub use memory::{AddressSpace, FrameFacts, KillPolicy, Memory, SpaceId};
pub use mlock::Locking;
pub use pin::PinnedFrame;
pub use remap::Destination;
pub use swap::{SwapSlot, SwapStatistics};
pub use vma::{OnFork, Sharing};
