//! Time, and an interrupt at a fixed rate: the generic timer (Arm ARM, chapter D12).

use core::sync::atomic::{AtomicU64, Ordering};

use super::registers;

/// The virtual timer's interrupt.
pub(crate) const INTID: u32 = 27;

static PERIOD: AtomicU64 = AtomicU64::new(0);
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
/// Every bit that was set in the PSTATE of something interrupted.
static PSTATES: AtomicU64 = AtomicU64::new(0);

/// Ticks a second.
pub(crate) fn frequency() -> u64 {
    registers::read!("cntfrq_el0")
}

/// Ticks since the machine started.
pub(crate) fn now() -> u64 {
    registers::barrier();
    registers::read!("cntpct_el0")
}

/// Nanoseconds of so many ticks.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(frequency())) as u64
}

/// Waits.
pub(crate) fn wait_microseconds(microseconds: u64) {
    let end = now() + frequency() * microseconds / 1_000_000;
    while now() < end {
        core::hint::spin_loop();
    }
}

/// Starts interrupting this CPU `rate` times a second.
pub(crate) fn start(rate: u64) {
    let period = frequency() / rate;
    PERIOD.store(period, Ordering::Relaxed);
    registers::write!("cntv_tval_el0", period);
    registers::write!("cntv_ctl_el0", 1);
}

/// Stops.
pub(crate) fn stop() {
    registers::write!("cntv_ctl_el0", 0);
}

/// Takes an interrupt.
pub(crate) fn handle() {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    PSTATES.fetch_or(registers::read!("spsr_el1"), Ordering::Relaxed);
    registers::write!("cntv_tval_el0", PERIOD.load(Ordering::Relaxed));
}

/// The bits of PSTATE that were set in anything that was interrupted since the last time this was asked.
pub(crate) fn interrupted_pstates() -> u64 {
    PSTATES.swap(0, Ordering::Relaxed)
}

/// How many timer interrupts there were.
pub(crate) fn interrupts() -> u64 {
    INTERRUPTS.load(Ordering::Relaxed)
}
