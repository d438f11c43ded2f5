//! A lock whose waiters spin and whose holder takes no interrupt.

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use crate::arch::irq;

/// Protects `T` for a few instructions. While it is held this CPU takes no interrupts, so an
/// interrupt handler may take it too, and no thread is preempted with it in hand.
#[derive(Debug, Default)]
pub struct SpinLock<T> {
    inner: spin::Mutex<T>,
}

impl<T> SpinLock<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            inner: spin::Mutex::new(value),
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let flags = irq::disable();
        SpinGuard {
            guard: ManuallyDrop::new(self.inner.lock()),
            flags,
        }
    }

    /// Opens the lock without its guard. Interrupts stay masked.
    ///
    /// # Safety
    ///
    /// The lock is held, and its guard was forgotten.
    #[expect(
        unsafe_code,
        reason = "a switch of threads releases what another thread took"
    )]
    pub unsafe fn force_unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.inner.force_unlock() };
    }

    /// Takes the lock unless someone has it.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let flags = irq::disable();
        let Some(guard) = self.inner.try_lock() else {
            irq::restore(flags);
            return None;
        };
        Some(SpinGuard {
            guard: ManuallyDrop::new(guard),
            flags,
        })
    }

    /// What it protects, if nobody else can see it.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

/// A [`SpinLock`] that is held.
#[derive(Debug)]
#[must_use = "the lock is released at once"]
pub struct SpinGuard<'a, T> {
    guard: ManuallyDrop<spin::MutexGuard<'a, T>>,
    flags: irq::Flags,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[expect(
        unsafe_code,
        reason = "the lock must be free before interrupts come back"
    )]
    fn drop(&mut self) {
        // SAFETY: the guard is not used again: this is the end of its owner.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
        irq::restore(self.flags);
    }
}
