//! The threads that could run on a CPU, the one that has had the least first.
//!
//! Each thread has a *virtual runtime*: nanoseconds it ran, more of them the lower its priority.
//! The queue hands out the least. A thread that slept does not come back with an old claim: it is
//! put at most `CREDIT` before those that wait.

use alloc::collections::BinaryHeap;
use alloc::collections::TryReserveError;
use core::cmp::{Ordering, Reverse};

/// How far a thread that slept may go before the others, in virtual nanoseconds: it preempts a
/// thread that computes, but not for long.
const CREDIT: u64 = 3_000_000;

/// The nice value that has the weight 1024.
const WEIGHT_OF_NICE_0: u64 = 1024;

/// What a nice value is worth: 1.25 times as much for each step down, as POSIX systems agree.
pub fn weight(nice: i8) -> u64 {
    let steps = |from: u64, count: u8, up: bool| {
        (0..count).fold(
            from,
            |weight, _| if up { weight * 5 / 4 } else { weight * 4 / 5 },
        )
    };
    steps(WEIGHT_OF_NICE_0, nice.unsigned_abs(), nice < 0).max(1)
}

/// How much virtual time `nanoseconds` of running are.
pub fn virtual_time(nanoseconds: u64, weight: u64) -> u64 {
    match weight {
        WEIGHT_OF_NICE_0 => nanoseconds,
        _ => nanoseconds.saturating_mul(WEIGHT_OF_NICE_0) / weight.max(1),
    }
}

#[derive(Debug)]
struct Entry<T> {
    runtime: u64,
    /// Those with equal claims take turns.
    turn: u64,
    thread: T,
}

impl<T> Entry<T> {
    fn key(&self) -> Reverse<(u64, u64)> {
        Reverse((self.runtime, self.turn))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A queue of runnable threads.
#[derive(Debug)]
pub struct RunQueue<T> {
    heap: BinaryHeap<Entry<T>>,
    /// What the thread that ran last had when it was taken. It never goes back.
    floor: u64,
    turn: u64,
}

impl<T> RunQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            floor: 0,
            turn: 0,
        }
    }

    /// Makes room for `threads` in all: inserting them will not allocate, so it can happen in an
    /// interrupt.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn reserve(&mut self, threads: usize) -> Result<(), TryReserveError> {
        self.heap
            .try_reserve(threads.saturating_sub(self.heap.len()))
    }

    /// How many threads wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The least virtual runtime that a thread can have here.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// What a thread with this virtual runtime has after it slept.
    pub fn after_sleep(&self, runtime: u64) -> u64 {
        runtime.max(self.floor.saturating_sub(CREDIT))
    }

    /// Puts a thread in.
    pub fn insert(&mut self, runtime: u64, thread: T) {
        self.turn += 1;
        self.heap.push(Entry {
            runtime,
            turn: self.turn,
            thread,
        });
    }

    /// Takes the thread that is to run.
    pub fn take(&mut self) -> Option<T> {
        let entry = self.heap.pop()?;
        self.floor = self.floor.max(entry.runtime);
        Some(entry.thread)
    }

    /// Takes the thread that would run last among those for which `may` is true: the one that
    /// misses this CPU least.
    pub fn take_last(&mut self, may: impl Fn(&T) -> bool) -> Option<T> {
        let key = self
            .heap
            .iter()
            .filter(|entry| may(&entry.thread))
            .map(Entry::key)
            .min()?;
        let mut taken = None;
        let mut entries = core::mem::take(&mut self.heap).into_vec();
        if let Some(place) = entries.iter().position(|entry| entry.key() == key) {
            taken = Some(entries.swap_remove(place).thread);
        }
        self.heap = BinaryHeap::from(entries);
        taken
    }

    /// The virtual runtime of the thread that is next.
    pub fn first(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.runtime)
    }
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CREDIT, RunQueue, virtual_time, weight};

    #[test]
    fn a_nice_step_is_a_quarter() {
        assert_eq!(weight(0), 1024);
        assert_eq!(weight(-1), 1280);
        assert_eq!(weight(1), 819);
        assert!(weight(19) >= 1);
        assert_eq!(virtual_time(1000, weight(-1)), 800);
    }

    #[test]
    fn equal_claims_take_turns() {
        let mut queue = RunQueue::new();
        for thread in 0..3 {
            queue.insert(5, thread);
        }
        assert_eq!(queue.take(), Some(0));
        queue.insert(5, 0);
        assert_eq!(
            [queue.take(), queue.take(), queue.take()],
            [Some(1), Some(2), Some(0)]
        );
    }

    #[test]
    fn a_sleeper_gets_a_little_credit_and_no_more() {
        let mut queue = RunQueue::new();
        queue.insert(10 * CREDIT, 'a');
        queue.take();
        assert_eq!(queue.after_sleep(0), 9 * CREDIT);
        assert_eq!(queue.after_sleep(20 * CREDIT), 20 * CREDIT);
    }

    #[test]
    fn the_last_is_the_one_to_move_away() {
        let mut queue = RunQueue::new();
        for (runtime, thread) in [(3, 'c'), (1, 'a'), (2, 'b'), (4, 'd')] {
            queue.insert(runtime, thread);
        }
        assert_eq!(queue.take_last(|thread| *thread != 'd'), Some('c'));
        assert_eq!(queue.take(), Some('a'));
        assert_eq!(queue.len(), 2);
    }

    proptest! {
        /// Threads that always want to run get CPU time as their weights are, within a slice.
        #[test]
        fn time_is_shared_by_weight(nice in prop::collection::vec(-10i8..=10, 2..6)) {
            const SLICE: u64 = 4_000_000;
            let mut queue = RunQueue::new();
            let mut ran = vec![0; nice.len()];
            let mut runtime = vec![0; nice.len()];
            for thread in 0..nice.len() {
                queue.insert(0, thread);
            }
            for _ in 0..20_000 {
                let thread = queue.take().unwrap();
                ran[thread] += SLICE;
                runtime[thread] += virtual_time(SLICE, weight(nice[thread]));
                queue.insert(runtime[thread], thread);
            }
            let least = runtime.iter().min().unwrap();
            let most = runtime.iter().max().unwrap();
            prop_assert!(most - least <= virtual_time(SLICE, weight(10)));
            prop_assert!(ran.iter().all(|time| *time > 0));
        }
    }
}
