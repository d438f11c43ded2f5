//! The time of day: time since boot, and an offset that can be set.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::time;

/// What the time of day was at boot, in nanoseconds since 1970.
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since 1970 in UTC.
pub fn realtime() -> u64 {
    OFFSET.load(Ordering::Relaxed).wrapping_add(time::now())
}

/// Sets the time of day.
pub fn set_realtime(now: u64) {
    OFFSET.store(now.wrapping_sub(time::now()), Ordering::Relaxed);
}

/// The point in time since boot that is `realtime` of the day.
pub fn since_boot(realtime: u64) -> u64 {
    realtime.saturating_sub(OFFSET.load(Ordering::Relaxed))
}
