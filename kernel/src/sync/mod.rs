//! Locks, and queues of threads that wait.
//!
//! * [`SpinLock`] for a few instructions; interrupts are off while it is held.
//! * [`Mutex`] where its holder may sleep.
//! * [`WaitQueue`] for threads that wait for something to become true.

mod mutex;
mod spin;
mod wait;

pub use self::mutex::{Mutex, MutexGuard};
pub use self::spin::{SpinGuard, SpinLock};
pub use self::wait::{Interrupted, WaitQueue, Waiting};
