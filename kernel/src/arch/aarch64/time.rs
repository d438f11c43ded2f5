//! Time, by the generic timer (Arm ARM DDI 0487, chapter D12): its virtual counter and timer.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::cpu::{self, MAX};
use super::irq;
use super::registers::{mrs, msr, run};
use crate::task::scheduler;
use crate::trap;

/// CNTV_CTL_EL0.ENABLE; the bit above it masks the interrupt.
const ENABLE: u64 = 1;

/// Never.
const NEVER: u64 = u64::MAX;

static INTERRUPT: AtomicU32 = AtomicU32::new(27);
static BOOT: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds for each tick, in units of 2^-32.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// When each CPU wants to be interrupted, in nanoseconds since boot: for the end of a slice, and
/// for a timer.
static WANTED: [[AtomicU64; 2]; MAX] = [const { [const { AtomicU64::new(NEVER) }; 2] }; MAX];
const SLICE: usize = 0;
const ALARM: usize = 1;

/// Starts the clock.
pub(super) fn init() {
    let frequency = mrs!("cntfrq_el0").max(1);
    SCALE.store((1_000_000_000 << 32) / frequency, Ordering::Relaxed);
    BOOT.store(mrs!("cntvct_el0"), Ordering::Relaxed);
}

/// Remembers the timer's interrupt.
pub(super) fn set_interrupt_number(number: u32) {
    INTERRUPT.store(number, Ordering::Relaxed);
}

/// The timer's interrupt.
pub(super) fn interrupt_number() -> u32 {
    INTERRUPT.load(Ordering::Relaxed)
}

/// Nanoseconds since boot.
pub fn now() -> u64 {
    run!("isb");
    let ticks = mrs!("cntvct_el0") - BOOT.load(Ordering::Relaxed);
    ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// The counter's value at a time, or a little later.
fn ticks(nanoseconds: u64) -> u64 {
    let scale = u128::from(SCALE.load(Ordering::Relaxed)).max(1);
    let ticks = (u128::from(nanoseconds) << 32).div_ceil(scale);
    BOOT.load(Ordering::Relaxed)
        .saturating_add(u64::try_from(ticks).unwrap_or(NEVER / 2))
}

/// Sets the timer to what comes first. Interrupts are masked.
fn program(wanted: &[AtomicU64; 2]) {
    let first = wanted.iter().map(|time| time.load(Ordering::Relaxed)).min();
    match first {
        None | Some(NEVER) => msr!("cntv_ctl_el0", 0),
        Some(time) => {
            msr!("cntv_cval_el0", ticks(time));
            msr!("cntv_ctl_el0", ENABLE);
        }
    }
    run!("isb");
}

fn set(which: usize, time: Option<u64>) {
    let flags = irq::disable();
    let wanted = &WANTED[cpu::id()];
    let time = time.unwrap_or(NEVER);
    if wanted[which].swap(time, Ordering::Relaxed) != time {
        program(wanted);
    }
    irq::restore(flags);
}

/// When this CPU is to be interrupted for the end of a slice (`task::scheduler::interrupt`), in
/// nanoseconds since boot.
pub fn set_slice_end(end: Option<u64>) {
    set(SLICE, end);
}

/// When this CPU is to be interrupted for a timer (`trap::alarm`), in nanoseconds since boot.
pub fn set_alarm(time: Option<u64>) {
    set(ALARM, time);
}

/// Takes the timer's interrupt.
pub(super) fn interrupt() {
    let wanted = &WANTED[cpu::id()];
    let now = now();
    let due = |which: usize| {
        let due = wanted[which].load(Ordering::Relaxed) <= now;
        if due {
            wanted[which].store(NEVER, Ordering::Relaxed);
        }
        due
    };
    let (slice, alarm) = (due(SLICE), due(ALARM));
    if slice {
        scheduler::interrupt();
    }
    if alarm {
        trap::alarm();
    }
    program(wanted);
}
