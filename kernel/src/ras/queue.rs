//! Reports on their way from where no lock may be taken to where they are finished.
//!
//! Each CPU has a few slots. A slot is a small state machine in one word, so neither side ever waits
//! for the other:
//!
//! ```text
//!   free ──reserve──▶ reserved ──publish──▶ full, for its owner ──take──▶ taken ──drop──▶ free
//! ```
//!
//! The owner is in the same word: whoever may not take a report never has it in his hands, not even
//! for a moment in which its owner would miss it. Nothing else orders them, so an exception that interrupts a producer on its own CPU just finds
//! another slot.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::mem;
use core::ops::Deref;
#[cfg(not(under_loom))]
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(under_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// Room for one status block, in bytes. Firmware rarely needs more than a few hundred.
pub(super) const BLOCK_LENGTH: usize = 4096;

/// Reports that wait for one CPU. One abort leaves one or two, and its task finishes them before it
/// goes on.
const SLOTS: usize = if cfg!(under_loom) { 2 } else { 4 };

const FREE: u64 = 0;
const RESERVED: u64 = 1;
const TAKEN: u64 = 2;

/// The state of a slot with a report for `owner`.
const fn full(owner: u32) -> u64 {
    1 << 32 | owner as u64
}

/// Whose report is in a slot with this state, if there is one.
fn owner_of(state: u64) -> Option<u32> {
    (state >> 32 == 1).then_some(state as u32)
}

/// The owner of reports that anyone may finish.
pub(super) const NOBODY: u32 = 0;

/// The reports of one CPU. `T` says what is known apart from the block. The slots are on the heap
/// from the start: they are more than a stack has room for.
pub(super) struct Queue<T> {
    slots: Box<[Slot<T>]>,
    /// Reports for which there was no slot.
    lost: AtomicU64,
}

struct Slot<T> {
    state: AtomicU64,
    content: UnsafeCell<Content<T>>,
}

struct Content<T> {
    tag: Option<T>,
    length: usize,
    bytes: [u8; BLOCK_LENGTH],
}

// SAFETY: whoever moved `state` to RESERVED or TAKEN owns `content`, alone, until it moves it on;
// the moves acquire and release. What crosses threads is a `T`.
#[expect(unsafe_code, reason = "ownership goes by the slot's state")]
unsafe impl<T: Send> Sync for Slot<T> {}

/// A slot that is being filled. It is free again if this is dropped.
pub(super) struct Reserved<'a, T> {
    slot: &'a Slot<T>,
}

/// A report that was taken. Its slot is free again when this is dropped.
pub(super) struct Taken<'a, T> {
    slot: &'a Slot<T>,
}

impl<T: Copy> Queue<T> {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::new()).collect(),
            lost: AtomicU64::new(0),
        }
    }

    /// A slot to be filled. `None` if there is none: the report is lost, and counted.
    pub(super) fn reserve(&self) -> Option<Reserved<'_, T>> {
        let slot = self.slots.iter().find(|slot| slot.moves(FREE, RESERVED));
        if slot.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        slot.map(|slot| Reserved { slot })
    }

    /// A report whose owner `wanted` wants.
    pub(super) fn take(&self, wanted: impl Fn(u32) -> bool) -> Option<Taken<'_, T>> {
        self.slots.iter().find_map(|slot| {
            let state = slot.state.load(Ordering::Relaxed);
            let is_wanted = owner_of(state).is_some_and(&wanted);
            (is_wanted && slot.moves(state, TAKEN)).then(|| Taken { slot })
        })
    }

    /// Whether there is anything to take of this owner's.
    pub(super) fn is_pending_for(&self, owner: u32) -> bool {
        let is_full = |slot: &Slot<T>| slot.state.load(Ordering::Acquire) == full(owner);
        self.slots.iter().any(is_full)
    }

    /// Takes the count of lost reports.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self {
            state: AtomicU64::new(FREE),
            content: UnsafeCell::new(Content {
                tag: None,
                length: 0,
                bytes: [0; BLOCK_LENGTH],
            }),
        }
    }

    fn moves(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

impl<T> Reserved<'_, T> {
    /// Room for the block.
    #[expect(unsafe_code, reason = "ownership goes by the slot's state")]
    pub(super) fn buffer(&mut self) -> &mut [u8; BLOCK_LENGTH] {
        let content = self.slot.content.get();
        // SAFETY: the slot is RESERVED by this value, which is borrowed exclusively.
        unsafe { &mut (*content).bytes }
    }

    /// Hands over what is in the buffer, `length` bytes of it, with `tag`, to `owner`.
    #[expect(unsafe_code, reason = "ownership goes by the slot's state")]
    pub(super) fn publish(self, length: usize, owner: u32, tag: T) {
        let content = self.slot.content.get();
        // SAFETY: the slot is RESERVED by this value, and nothing borrows from it any more.
        let content = unsafe { &mut *content };
        content.tag = Some(tag);
        content.length = length.min(BLOCK_LENGTH);
        self.slot.state.store(full(owner), Ordering::Release);
        mem::forget(self);
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        self.slot.state.store(FREE, Ordering::Release);
    }
}

impl<T: Copy> Taken<'_, T> {
    /// What is known apart from the block.
    #[expect(unsafe_code, reason = "ownership goes by the slot's state")]
    pub(super) fn tag(&self) -> T {
        let content = self.slot.content.get();
        // SAFETY: the slot is TAKEN by this value, so nobody writes.
        let tag = unsafe { (*content).tag };
        tag.expect("a full slot has a tag")
    }
}

/// The block's bytes.
impl<T> Deref for Taken<'_, T> {
    type Target = [u8];

    #[expect(unsafe_code, reason = "ownership goes by the slot's state")]
    fn deref(&self) -> &[u8] {
        let content = self.slot.content.get();
        // SAFETY: the slot is TAKEN by this value, so nobody writes for as long as it is borrowed.
        let content = unsafe { &*content };
        &content.bytes[..content.length]
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.slot.state.store(FREE, Ordering::Release);
    }
}

/// Interleavings: `RUSTFLAGS="--cfg under_loom" cargo test -p seaworthy-kernel --lib loom`.
#[cfg(all(test, under_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::Queue;

    /// Every interleaving with up to three switches of threads that do not wait.
    fn check(body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(body);
    }

    fn put(queue: &Queue<u32>, owner: u32) {
        let mut slot = queue.reserve().expect("there are more slots than reports");
        slot.buffer()[..4].copy_from_slice(&owner.to_le_bytes());
        slot.publish(4, owner, owner);
    }

    fn take(queue: &Queue<u32>, owner: u32) -> bool {
        let taken = queue.take(|found| found == owner);
        if let Some(report) = &taken {
            assert_eq!((report.tag(), &**report), (owner, &owner.to_le_bytes()[..]));
        }
        taken.is_some()
    }

    /// What a thread has put it finds, whatever others put and take: it must not go back to its
    /// program before.
    #[test]
    fn nobody_misses_his_own() {
        check(|| {
            let queue = Arc::new(Queue::new());
            let threads: Vec<_> = (1..=2)
                .map(|owner| {
                    let queue = Arc::clone(&queue);
                    thread::spawn(move || {
                        put(&queue, owner);
                        assert!(queue.is_pending_for(owner));
                        assert!(take(&queue, owner) && !take(&queue, owner));
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(queue.take_lost(), 0);
        });
    }

    /// What is anybody's is taken once.
    #[test]
    fn one_of_two_takes_a_report() {
        check(|| {
            let queue = Arc::new(Queue::new());
            put(&queue, 7);
            let other = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || u32::from(take(&queue, 7)))
            };
            put(&queue, 7);
            let own = u32::from(take(&queue, 7)) + u32::from(take(&queue, 7));
            let other = other.join().unwrap();
            let left = u32::from(take(&queue, 7));
            assert_eq!(own + other + left, 2);
        });
    }
}

#[cfg(all(test, not(under_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::{Queue, SLOTS};

    fn put(queue: &Queue<u32>, tag: u32) -> bool {
        let Some(mut slot) = queue.reserve() else {
            return false;
        };
        slot.buffer()[..4].copy_from_slice(&tag.to_le_bytes());
        slot.publish(4, tag, tag);
        true
    }

    #[test]
    fn what_is_not_wanted_stays() {
        let queue = Queue::new();
        assert!(!queue.is_pending_for(1));
        assert!(put(&queue, 1) && put(&queue, 2));
        let taken = queue.take(|owner| owner == 2).unwrap();
        assert_eq!((&*taken, taken.tag()), (&[2, 0, 0, 0][..], 2));
        assert!(queue.take(|owner| owner == 2).is_none());
        drop(taken);
        assert_eq!(queue.take(|_| true).unwrap().tag(), 1);
        assert!(!queue.is_pending_for(1));
    }

    #[test]
    fn a_full_queue_counts_what_it_loses_and_a_given_up_slot_is_free() {
        let queue = Queue::new();
        for tag in 0..SLOTS as u32 - 1 {
            assert!(put(&queue, tag));
        }
        drop(queue.reserve());
        assert!(put(&queue, 9) && !put(&queue, 10));
        assert_eq!((queue.take_lost(), queue.take_lost()), (1, 0));
    }

    #[test]
    fn nothing_is_taken_twice_or_torn() {
        const EACH: u32 = if cfg!(miri) { 20 } else { 5000 };
        let queue = Queue::new();
        let (sum, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for producer in 0..2 {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..EACH {
                        while !put(queue, number * 2 + producer) {
                            thread::yield_now();
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while taken.load(Ordering::SeqCst) < 2 * EACH as usize {
                        if let Some(report) = queue.take(|_| true) {
                            assert_eq!(*report, report.tag().to_le_bytes());
                            sum.fetch_add(report.tag() as usize, Ordering::SeqCst);
                            taken.fetch_add(1, Ordering::SeqCst);
                        } else {
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        let numbers = 2 * EACH as usize;
        assert_eq!(sum.into_inner(), numbers * (numbers - 1) / 2);
    }
}
