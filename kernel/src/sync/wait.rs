//! Threads that wait until something is true.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::arch::thread::{self, Waker};
use crate::arch::time;
use crate::error::{Errno, Result};
use crate::sync::SpinLock;

/// A signal ended the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl From<Interrupted> for Errno {
    fn from(_: Interrupted) -> Self {
        Self::EINTR
    }
}

/// A queue of threads that wait for a condition, the longest waiter first.
#[derive(Debug, Default)]
pub struct WaitQueue {
    wakers: SpinLock<VecDeque<Waker>>,
    /// How many there are: mostly nobody waits, and who wakes need not take the lock to know.
    length: AtomicUsize,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            wakers: SpinLock::new(VecDeque::new()),
            length: AtomicUsize::new(0),
        }
    }

    /// Sleeps until `condition` has a value. It is asked before the first sleep and after every
    /// wake-up; whoever makes it true calls [`wake_all`](Self::wake_all) afterwards.
    pub fn wait_until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = self.attempt(&mut condition) {
                return value;
            }
        }
    }

    /// As [`wait_until`](Self::wait_until), but a signal for this thread ends it.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn wait_interruptibly<T>(
        &self,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, Interrupted> {
        loop {
            if thread::has_signal() {
                return condition().ok_or(Interrupted);
            }
            if let Some(value) = self.attempt(&mut condition) {
                return Ok(value);
            }
        }
    }

    /// As [`wait_interruptibly`](Self::wait_interruptibly), but until `deadline` at the latest,
    /// in nanoseconds since boot. `None` if that came first.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn wait_with_deadline<T>(
        &self,
        deadline: u64,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>, Interrupted> {
        loop {
            let waiting = self.join();
            if let Some(value) = condition() {
                return Ok(Some(value));
            }
            if thread::has_signal() {
                return Err(Interrupted);
            }
            if time::now() >= deadline {
                return Ok(None);
            }
            thread::park_until(deadline);
            drop(waiting);
        }
    }

    /// Asks, and sleeps once if the answer is no.
    fn attempt<T>(&self, condition: &mut impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(value) = condition() {
            return Some(value);
        }
        let _waiting = self.join();
        let value = condition();
        if value.is_none() {
            thread::park();
        }
        value
    }

    /// Puts the running thread into the queue until the result is dropped. Whoever then finds a
    /// condition false and parks misses no wake-up: a waker that was used makes `park` return.
    pub fn join(&self) -> Waiting<'_> {
        let waker = thread::current();
        self.change(|wakers| wakers.push_back(waker.clone()));
        // The other half of `is_empty`.
        fence(Ordering::SeqCst);
        Waiting { queue: self, waker }
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Waker>) -> T) -> T {
        let mut wakers = self.wakers.lock();
        let result = change(&mut wakers);
        self.length.store(wakers.len(), Ordering::Relaxed);
        result
    }

    /// Whether nobody waits. Whoever makes a condition true looks here afterwards, and a waiter
    /// looks at the condition after it has joined: one of them at least sees the other.
    fn is_empty(&self) -> bool {
        fence(Ordering::SeqCst);
        self.length.load(Ordering::Relaxed) == 0
    }

    /// Wakes the thread that has waited longest. Returns whether there was one.
    pub fn wake_one(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let waker = self.change(VecDeque::pop_front);
        waker.map(|waker| waker.wake()).is_some()
    }

    /// Wakes all threads that wait now.
    pub fn wake_all(&self) {
        if self.is_empty() {
            return;
        }
        let wakers = self.change(core::mem::take);
        wakers.iter().for_each(Waker::wake);
    }
}

/// The running thread is in a queue.
#[derive(Debug)]
#[must_use = "the thread leaves the queue at once"]
pub struct Waiting<'a> {
    queue: &'a WaitQueue,
    waker: Waker,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue
            .change(|wakers| wakers.retain(|other| *other != self.waker));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::WaitQueue;

    #[test]
    fn no_wake_up_is_lost() {
        let shared = Arc::new((WaitQueue::new(), AtomicUsize::new(0)));
        let threads: Vec<_> = (1..=4)
            .map(|wanted| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    shared.0.wait_until(|| {
                        (shared.1.load(Ordering::SeqCst) >= wanted * 250).then_some(())
                    });
                })
            })
            .collect();
        for _ in 0..1000 {
            shared.1.fetch_add(1, Ordering::SeqCst);
            shared.0.wake_all();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!shared.0.wake_one());
    }
}
