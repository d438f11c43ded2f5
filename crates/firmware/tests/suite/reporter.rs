//! Reporting: the acknowledge protocol, from one CPU and from many.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use control::{Notice, Policy};
use cper::{Section, StatusBlock};
use firmware::{Busy, Record, Reporter, Source, Window, window, write_boot_error};

use crate::guest::Guest;
use crate::record::{ADDRESS, CONSUMER};

const HIT: fn() -> Record = || Record::hit(Policy::empty(), ADDRESS, CONSUMER);

fn address(block: &[u8]) -> u64 {
    let block = StatusBlock::parse(block).unwrap();
    match block.entries().next().unwrap().section().unwrap() {
        Section::Memory(section) => section.physical_address().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_claimed_through_the_tables() {
    let mut guest = Guest::new();
    let reporter = Reporter::new();
    for (index, source) in Source::ALL.iter().copied().enumerate() {
        assert_eq!(guest.claim(index), None);
        assert_eq!(reporter.report(&*guest.window, source, 2, &HIT()), Ok(()));
        for other in (0..Source::COUNT).filter(|other| *other != index) {
            assert_eq!(
                guest.claim(other),
                None,
                "{source:?} must not show elsewhere"
            );
        }
        let block = guest.claim(index).unwrap();
        let number = 1 << 2 | u64::from(source.id());
        assert_eq!(block, HIT().encode(number).as_bytes());
        assert_eq!(guest.claim(index), None);
    }
}

#[test]
fn a_source_is_busy_until_its_record_is_acknowledged() {
    let mut guest = Guest::new();
    let reporter = Reporter::new();
    let report = |guest: &Guest, source, cpu| reporter.report(&*guest.window, source, cpu, &HIT());
    assert_eq!(report(&guest, Source::Sea, 0), Ok(()));
    let before = guest.bytes(control::layout::FIRMWARE, window::LENGTH);
    assert_eq!(report(&guest, Source::Sea, 1), Err(Busy::OtherCpu));
    assert_eq!(report(&guest, Source::Sea, 0), Err(Busy::SameCpu));
    let after = guest.bytes(control::layout::FIRMWARE, window::LENGTH);
    assert!(before == after, "a report that is refused changes nothing");
    // Sources do not wait for each other.
    assert_eq!(report(&guest, Source::Gsiv, 1), Ok(()));

    assert!(guest.claim(0).is_some());
    assert_eq!(report(&guest, Source::Sea, 1), Ok(()));
    assert_eq!(report(&guest, Source::Sea, 0), Err(Busy::OtherCpu));
    assert_eq!(report(&guest, Source::Sea, 1), Err(Busy::SameCpu));
    assert!(guest.claim(0).is_some());
    assert_eq!(report(&guest, Source::Sea, 1), Ok(()));
}

#[test]
fn taking_the_block_without_acknowledging_it_does_not_free_the_source() {
    let guest = Guest::new();
    let reporter = Reporter::new();
    let sea = Source::Sea;
    reporter.report(&*guest.window, sea, 0, &HIT()).unwrap();
    guest.window.store(window::block(sea), 0);
    assert_eq!(
        reporter.report(&*guest.window, sea, 1, &HIT()),
        Err(Busy::OtherCpu)
    );
    guest.window.store(window::read_ack(sea), 1);
    assert_eq!(reporter.report(&*guest.window, sea, 1, &HIT()), Ok(()));
}

#[test]
fn a_source_that_has_reported_nothing_needs_no_acknowledgement() {
    let mut guest = Guest::new();
    for source in Source::ALL.iter().copied() {
        guest.window.store(window::read_ack(source), 0);
    }
    let reporter = Reporter::new();
    assert_eq!(
        reporter.report(&*guest.window, Source::Sea, 0, &HIT()),
        Ok(())
    );
    assert!(guest.claim(0).is_some());
}

/// Notes the offsets that are stored to.
struct Recorder<'a> {
    window: &'a [AtomicU32],
    stores: RefCell<Vec<usize>>,
}

impl Window for Recorder<'_> {
    fn load(&self, offset: usize) -> u32 {
        self.window.load(offset)
    }

    fn store(&self, offset: usize, value: u32) {
        self.stores.borrow_mut().push(offset);
        self.window.store(offset, value);
    }
}

#[test]
fn the_acknowledgement_is_taken_back_first_and_the_status_comes_last() {
    let guest = Guest::new();
    let recorder = Recorder {
        window: &guest.window,
        stores: RefCell::new(Vec::new()),
    };
    let (source, block) = (Source::Gsiv, window::block(Source::Gsiv));
    Reporter::new()
        .report(&recorder, source, 0, &HIT())
        .unwrap();
    let stores = recorder.stores.into_inner();
    let [read_ack, empty, rest @ .., status] = stores.as_slice() else {
        panic!("{stores:x?}");
    };
    assert_eq!(
        [*read_ack, *empty, *status],
        [window::read_ack(source), block, block]
    );
    assert!(rest.iter().copied().eq((block + 4..block + 180).step_by(4)));
}

#[test]
fn no_two_blocks_are_alike() {
    let mut guest = Guest::new();
    let reporter = Reporter::new();
    let mut blocks = HashSet::new();
    for _ in 0..100 {
        for (index, source) in Source::ALL.iter().copied().enumerate() {
            reporter.report(&*guest.window, source, 0, &HIT()).unwrap();
            assert!(blocks.insert(guest.claim(index).unwrap()));
        }
    }
}

#[test]
fn a_shorter_record_leaves_nothing_of_a_longer_one_in_its_block() {
    let mut guest = Guest::new();
    let reporter = Reporter::new();
    for (policy, number) in [
        (Policy::empty(), 1),
        (Policy::PROCESSOR, 2),
        (Policy::empty(), 3),
    ] {
        let record = Record::hit(policy, ADDRESS, CONSUMER);
        reporter
            .report(&*guest.window, Source::Sei, 0, &record)
            .unwrap();
        let block = guest.claim(2).unwrap();
        assert_eq!(block, record.encode(number << 2 | 2).as_bytes());
    }
}

#[test]
fn an_error_of_an_earlier_boot_is_where_bert_says() {
    let mut guest = Guest::new();
    let bert = guest.table(*b"BERT");
    let bert = apei::Bert::parse(&bert).unwrap();
    let length = bert.region_length.get() as usize;
    assert_eq!(
        guest.bytes(bert.region_address.get(), length),
        vec![0; length]
    );
    let record = Record::notice(Notice::SErrorUncontainable, ADDRESS);
    write_boot_error(&*guest.window, &record);
    let region = guest.bytes(bert.region_address.get(), length);
    let expected = record.encode(0);
    assert_eq!(region[..expected.as_bytes().len()], *expected.as_bytes());
}

/// Every CPU hits errors of its own, and the guest's CPUs claim them in any order.
#[test]
fn threads_lose_no_record_and_tear_none() {
    const CPUS: usize = 4;
    const EACH: u64 = 2_000;
    let guest = Guest::new();
    let window = &*guest.window;
    let reporter = Reporter::new();
    let (running, waits) = (AtomicBool::new(true), AtomicU64::new(0));
    let claimed = std::thread::scope(|scope| {
        let reporters = (0..CPUS).map(|cpu| {
            let (reporter, waits) = (&reporter, &waits);
            scope.spawn(move || {
                for index in 0..EACH {
                    let address = (cpu as u64) << 32 | index << 6;
                    let record = Record::hit(Policy::empty(), address, CONSUMER);
                    while reporter.report(window, Source::Sea, cpu, &record).is_err() {
                        waits.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                    }
                }
            })
        });
        let reporters: Vec<_> = reporters.collect();
        let claimer = scope.spawn(|| {
            let mut claimed = Vec::new();
            loop {
                let last = !running.load(Ordering::Acquire);
                match claim(window) {
                    Some(address) => claimed.push(address),
                    None if last => return claimed,
                    None => std::thread::yield_now(),
                }
            }
        });
        for thread in reporters {
            thread.join().unwrap();
        }
        running.store(false, Ordering::Release);
        claimer.join().unwrap()
    });
    assert_eq!(claimed.len(), CPUS * EACH as usize);
    for cpu in 0..CPUS as u64 {
        let of_cpu = claimed.iter().filter(|address| **address >> 32 == cpu);
        assert!(
            of_cpu
                .copied()
                .eq((0..EACH).map(|index| cpu << 32 | index << 6))
        );
    }
    assert!(waits.into_inner() > 0, "the CPUs never met");
}

/// Claims as a guest does, on the window alone.
fn claim(window: &[AtomicU32]) -> Option<u64> {
    let (block, ack) = (window::block(Source::Sea), window::read_ack(Source::Sea));
    if window.load(block) == 0 {
        return None;
    }
    let bytes: Vec<u8> = (0..180)
        .step_by(4)
        .flat_map(|at| window.load(block + at).to_le_bytes())
        .collect();
    window.store(block, 0);
    window.store(ack, window.load(ack) & !1 | 1);
    Some(address(&bytes))
}
