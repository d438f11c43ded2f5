//! The host's clock.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since boot.
pub fn now() -> u64 {
    static BOOT: OnceLock<Instant> = OnceLock::new();
    BOOT.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
