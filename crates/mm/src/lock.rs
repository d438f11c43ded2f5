//! The locks of this crate: they spin. In a simulation, whoever takes one may be made to wait
//! first, and whoever spins lets others run.

use spin::RelaxStrategy;
use spin::mutex::SpinMutex;

pub(crate) type MutexGuard<'a, T> = spin::mutex::SpinMutexGuard<'a, T>;

/// A lock.
#[derive(Debug)]
pub(crate) struct Mutex<T>(SpinMutex<T, Relax>);

#[derive(Debug)]
struct Relax;

impl RelaxStrategy for Relax {
    fn relax() {
        relax();
    }
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }

    /// What is inside, of a lock that nobody else knows yet.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(any(test, feature = "sim"))]
        crate::sim::schedule::point();
        self.0.lock()
    }

    /// Takes the lock unless someone has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// Waits a moment for another CPU.
pub(crate) fn relax() {
    #[cfg(any(test, feature = "sim"))]
    crate::sim::schedule::wait();
    core::hint::spin_loop();
}
