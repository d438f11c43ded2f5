//! The host's clock.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since boot.
pub fn now() -> u64 {
    static BOOT: OnceLock<Instant> = OnceLock::new();
    BOOT.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// When this CPU is to be interrupted for the end of a slice (`task::scheduler::interrupt`), in
/// nanoseconds since boot. Here it never is.
pub fn set_slice_end(_end: Option<u64>) {}

/// When this CPU is to be interrupted for a timer (`task::timer::interrupt`), in nanoseconds since
/// boot. Here it never is.
pub fn set_alarm(_time: Option<u64>) {}
