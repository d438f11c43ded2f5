//! A lock whose waiters sleep.

use core::ops::{Deref, DerefMut};

use crate::sync::WaitQueue;

/// Protects `T`; its holder may sleep. Not for interrupt handlers.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    inner: spin::Mutex<T>,
    waiters: WaitQueue,
}

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            inner: spin::Mutex::new(value),
            waiters: WaitQueue::new(),
        }
    }

    /// Waits for the lock; sleeps if another thread has it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = match self.inner.try_lock() {
            Some(guard) => guard,
            None => self.waiters.wait_until(|| self.inner.try_lock()),
        };
        MutexGuard {
            guard: Some(guard),
            waiters: &self.waiters,
        }
    }
}

/// A [`Mutex`] that is held.
#[derive(Debug)]
#[must_use = "the lock is released at once"]
pub struct MutexGuard<'a, T> {
    /// Present until the end.
    guard: Option<spin::MutexGuard<'a, T>>,
    waiters: &'a WaitQueue,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("the lock is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("the lock is held")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.guard = None;
        self.waiters.wake_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Mutex;

    #[test]
    fn holders_exclude_each_other() {
        let mutex = Arc::new(Mutex::new((0, 0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mutex = Arc::clone(&mutex);
                std::thread::spawn(move || {
                    for _ in 0..500 {
                        let mut pair = mutex.lock();
                        pair.0 += 1;
                        std::thread::yield_now();
                        pair.1 += 1;
                        assert_eq!(pair.0, pair.1);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*mutex.lock(), (2000, 2000));
    }
}
