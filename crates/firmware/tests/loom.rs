//! Every interleaving of two CPUs that report and a guest that claims.
//!
//! ```text
//! RUSTFLAGS="--cfg under_loom" cargo test -p seaworthy-firmware --release --test loom
//! ```
//!
//! The words that carry the protocol are loom's atomics. The rest of a block is plain memory, in
//! which loom finds every pair of accesses that are not ordered: a record that is torn, or
//! overwritten while the guest reads it.
#![cfg(under_loom)]
#![expect(
    unsafe_code,
    reason = "loom's cells, which check that no access races with another"
)]

use control::Policy;
use firmware::{Busy, Consumer, Record, Reporter, Source, Window, window};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

const SOURCE: Source = Source::Sea;

/// The parts of the window that one source uses.
struct Memory {
    status: AtomicU32,
    read_ack: AtomicU32,
    /// Words of the block after its first.
    rest: UnsafeCell<[u32; 48]>,
}

// SAFETY: `rest` is only reached through loom's cell, which fails the test if two threads reach it
// without order; the other fields are atomics.
unsafe impl Sync for Memory {}

impl Memory {
    fn new() -> Self {
        Self {
            status: AtomicU32::new(0),
            read_ack: AtomicU32::new(1),
            rest: UnsafeCell::new([0; 48]),
        }
    }

    /// Claims as an operating system does; which record it was, by its number.
    fn claim(&self) -> Option<u32> {
        if self.status.load(Ordering::Acquire) == 0 {
            return None;
        }
        let length = Record::hit(Policy::empty(), 0, CONSUMER)
            .encode(0)
            .as_bytes()
            .len();
        // SAFETY: nothing keeps the pointer, and loom checks that nobody writes meanwhile.
        let words = self.rest.with(|words| unsafe { *words });
        let number = words[(length - 8) / 4 - 1];
        self.status.store(0, Ordering::Relaxed);
        self.read_ack.store(1, Ordering::Release);
        Some(number)
    }
}

impl Window for Memory {
    fn load(&self, offset: usize) -> u32 {
        assert_eq!(offset, window::read_ack(SOURCE));
        self.read_ack.load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        if offset == window::read_ack(SOURCE) {
            return self.read_ack.store(value, Ordering::Release);
        }
        match (offset - window::block(SOURCE)) / 4 {
            0 => self.status.store(value, Ordering::Release),
            // SAFETY: nothing keeps the pointer, and loom checks that nobody reads meanwhile.
            word => self
                .rest
                .with_mut(|words| unsafe { (*words)[word - 1] = value }),
        }
    }
}

const CONSUMER: Consumer = Consumer {
    mpidr: 0,
    midr: 0,
    virtual_address: None,
    fetch: false,
    restartable: false,
    uncontainable: false,
};

fn report(reporter: &Reporter, memory: &Memory, cpu: usize) -> Result<(), Busy> {
    let record = Record::hit(Policy::empty(), 0x4000_0000, CONSUMER);
    reporter.report(memory, SOURCE, cpu, &record)
}

/// One CPU reports twice, so that the guest may acknowledge in between and the other CPU may
/// mistake the second record for the first.
#[test]
fn every_record_is_claimed_once() {
    loom::model(|| {
        let shared = Arc::new((Reporter::new(), Memory::new()));
        let reporting = |cpu, times| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (reporter, memory) = &*shared;
                let results = (0..times).map(|_| report(reporter, memory, cpu));
                results.filter(Result::is_ok).count()
            })
        };
        let first = reporting(0, 2);
        let second = reporting(1, 1);
        let (reporter, memory) = &*shared;
        let mut claimed: Vec<u32> = (0..2).filter_map(|_| memory.claim()).collect();
        let reported = first.join().unwrap() + second.join().unwrap();
        claimed.extend(memory.claim());
        let numbers: Vec<u32> = (1..).map(|number| number << 2).take(reported).collect();
        assert_eq!(claimed, numbers);
        // Whatever happened, the next error is reported.
        assert_eq!(report(reporter, memory, 1), Ok(()));
        assert_eq!(memory.claim(), Some((reported as u32 + 1) << 2));
    });
}
