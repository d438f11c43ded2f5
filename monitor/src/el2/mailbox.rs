//! The mailbox: what the host reads and writes while the guest runs.

use core::fmt::{self, Write};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use control::counter::SLOTS;
use control::mailbox::{
    COUNTERS, FAILED, Header, LENGTH, LOG, LOG_LENGTH, RUNNING, SIGNATURE, VERSION, offset,
};
use control::{Counter, MAX_CPUS, Request};
use spin::Mutex;

use super::registers::mrs;
use super::{poison, stage2};

/// Where the mailbox is; 0 before there is one.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// One writer of text at a time.
static WRITING: Mutex<()> = Mutex::new(());

macro_rules! atomic {
    ($kind:ident, $offset:expr) => {{
        let place = PLACE.load(Ordering::Relaxed);
        let offset: u64 = $offset;
        debug_assert!(place != 0 && offset < LENGTH);
        // SAFETY: memory of the monitor that nothing but atomics access; offsets are those of the
        // contract, aligned, and inside it.
        unsafe { $kind::from_ptr((place + offset) as *mut _) }
    }};
}

macro_rules! header {
    ($kind:ident, $field:ident) => {
        atomic!($kind, offset_of!(Header, $field) as u64)
    };
}

/// Makes the mailbox, at `place`.
pub(super) fn make(place: u64, started: u64, guest_cpus: usize, answers: bool) {
    PLACE.store(place, Ordering::Relaxed);
    for word in 0..LENGTH / 8 {
        atomic!(AtomicU64, word * 8).store(0, Ordering::Relaxed);
    }
    let ram = stage2::ram();
    header!(AtomicU32, version).store(VERSION, Ordering::Relaxed);
    header!(AtomicU32, guest_cpus).store(guest_cpus as u32, Ordering::Relaxed);
    header!(AtomicU32, answers).store(answers.into(), Ordering::Relaxed);
    header!(AtomicU64, ram_start).store(ram.start, Ordering::Relaxed);
    header!(AtomicU64, ram_end).store(ram.end, Ordering::Relaxed);
    header!(AtomicU64, frequency).store(mrs!("cntfrq_el0"), Ordering::Relaxed);
    header!(AtomicU64, started).store(started, Ordering::Relaxed);
    header!(AtomicU64, signature).store(SIGNATURE, Ordering::Release);
}

/// Says that the guest is entered now.
pub(super) fn running() {
    header!(AtomicU64, entered).store(mrs!("cntpct_el0"), Ordering::Relaxed);
    header!(AtomicU32, state).store(RUNNING, Ordering::Release);
}

/// Says that the monitor has failed.
pub(super) fn failed() {
    if PLACE.load(Ordering::Relaxed) != 0 {
        header!(AtomicU32, state).store(FAILED, Ordering::Release);
    }
}

/// Adds 1 to a counter of CPU `cpu`.
pub(super) fn count(cpu: usize, counter: Counter) {
    add(cpu, counter, 1);
}

/// Adds to a counter of CPU `cpu`.
pub(super) fn add(cpu: usize, counter: Counter, amount: u64) {
    // Each CPU has its own row, so this is all it takes.
    let cell = cell(cpu, counter);
    cell.store(cell.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

/// The sum of a counter over all CPUs.
pub(super) fn sum(counter: Counter) -> u64 {
    (0..MAX_CPUS)
        .map(|cpu| cell(cpu, counter).load(Ordering::Relaxed))
        .sum()
}

fn cell(cpu: usize, counter: Counter) -> &'static AtomicU64 {
    let index = (cpu * SLOTS + counter as usize) as u64;
    atomic!(AtomicU64, COUNTERS + index * 8)
}

/// Looks for a request and serves it. Gives whether there was one.
pub(super) fn serve(cpu: usize) -> bool {
    header!(AtomicU64, heartbeat).fetch_add(1, Ordering::Relaxed);
    let number = atomic!(AtomicU32, offset::REQUESTS).load(Ordering::Acquire);
    let served = atomic!(AtomicU32, offset::RESPONSES);
    if served.load(Ordering::Relaxed) == number {
        return false;
    }
    let request = Request {
        command: header!(AtomicU32, command).load(Ordering::Relaxed),
        policy: header!(AtomicU32, policy).load(Ordering::Relaxed),
        address: header!(AtomicU64, address).load(Ordering::Relaxed),
        length: header!(AtomicU64, length).load(Ordering::Relaxed),
    };
    let response = poison::execute(cpu, &request);
    header!(AtomicU32, status).store(response.status.raw(), Ordering::Relaxed);
    header!(AtomicU64, value).store(response.value, Ordering::Relaxed);
    served.store(number, Ordering::Release);
    true
}

struct Log;

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let written = atomic!(AtomicU64, offset::LOG_WRITTEN);
        let mut total = written.load(Ordering::Relaxed);
        for byte in text.bytes() {
            atomic!(AtomicU8, LOG + total % LOG_LENGTH).store(byte, Ordering::Relaxed);
            total += 1;
        }
        written.store(total, Ordering::Release);
        Ok(())
    }
}

/// Adds a line to the log.
pub(super) fn write(line: fmt::Arguments<'_>) {
    if PLACE.load(Ordering::Relaxed) == 0 {
        return;
    }
    let _writing = WRITING.lock();
    let _ = writeln!(Log, "{line}");
}

macro_rules! log {
    ($($argument:tt)*) => {
        $crate::el2::mailbox::write(format_args!($($argument)*))
    };
}

pub(super) use log;
