//! The set of poisoned lines: against a model, when it is full, and under many threads.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use control::{LINE, PAGE, Policy};
use monitor::poison::{Full, PoisonSet};
use proptest::prelude::*;

/// What the set should be: policy and overwritten bytes of each line.
type Model = BTreeMap<u64, (Policy, u64)>;

#[derive(Clone, Debug)]
enum Operation {
    Insert(u64, Policy),
    Remove(u64),
    Written(u64, u64),
}

fn line() -> impl Strategy<Value = u64> {
    // A few pages more than the set has room for, in which a few lines are used again and again.
    (0u64..6, prop_oneof![0u64..4, 60u64..64])
        .prop_map(|(page, line)| 0x4000_0000 + page * 0x12_3000 + line * LINE)
}

fn policy() -> impl Strategy<Value = Policy> {
    (0u32..1 << 11).prop_map(Policy::from_bits_truncate)
}

fn operation() -> impl Strategy<Value = Operation> {
    let bytes = prop_oneof![
        Just(u64::MAX),
        Just(u64::MAX << 32),
        Just(u64::from(u32::MAX)),
        any::<u64>(),
    ];
    prop_oneof![
        (line(), policy()).prop_map(|(line, policy)| Operation::Insert(line, policy)),
        line().prop_map(Operation::Remove),
        (line(), bytes).prop_map(|(line, bytes)| Operation::Written(line, bytes)),
    ]
}

fn pages(model: &Model) -> usize {
    let mut pages: Vec<u64> = model.keys().map(|line| line / PAGE).collect();
    pages.dedup();
    pages.len()
}

fn check<const PAGES: usize>(set: &PoisonSet<PAGES>, model: &Model) {
    for page in (0..6).map(|page| 0x4000_0000 + page * 0x12_3000) {
        let expected = (0..PAGE / LINE)
            .filter(|line| model.contains_key(&(page + line * LINE)))
            .fold(0, |lines, line| lines | 1 << line);
        assert_eq!(set.lines(page), expected);
        assert_eq!(set.lines(page + 0x7ff), expected, "an address in the page");
    }
    assert_eq!(set.lines(0x4000_0000 - PAGE), 0);
    let mut listed = Vec::new();
    let mut from = 0;
    while let Some(line) = set.next(from) {
        listed.push((line, set.policy(line).expect("a listed line")));
        from = line + LINE;
    }
    let expected: Vec<_> = (model.iter())
        .map(|(&line, &(policy, _))| (line, policy))
        .collect();
    assert_eq!(listed, expected);
}

proptest! {
    #[test]
    fn it_is_a_map_of_lines(operations in prop::collection::vec(operation(), 0..120)) {
        let set = PoisonSet::<4>::new();
        let mut model = Model::new();
        for operation in operations {
            match operation {
                Operation::Insert(line, policy) => {
                    let known = model.keys().any(|other| other / PAGE == line / PAGE);
                    let expected = if pages(&model) == 4 && !known {
                        Err(Full)
                    } else {
                        Ok(model.insert(line, (policy, 0)).is_none())
                    };
                    prop_assert_eq!(set.insert(line, policy), expected);
                }
                Operation::Remove(line) => {
                    prop_assert_eq!(set.remove(line), model.remove(&line).is_some());
                }
                Operation::Written(line, bytes) => {
                    let good = model.get_mut(&line).is_some_and(|(policy, written)| {
                        *written |= bytes;
                        *written == u64::MAX && !policy.contains(Policy::PERMANENT)
                    });
                    if good {
                        model.remove(&line);
                    }
                    prop_assert_eq!(set.written(line, bytes), good);
                }
            }
            check(&set, &model);
        }
    }
}

#[test]
fn a_set_without_room_refuses() {
    let set = PoisonSet::<0>::new();
    assert_eq!(set.insert(0, Policy::empty()), Err(Full));
    assert_eq!((set.lines(0), set.next(0), set.remove(0)), (0, None, false));
}

#[test]
fn every_line_of_every_page_fits() {
    static SET: PoisonSet = PoisonSet::new();
    for page in 0..4096 {
        for line in [0, 17, 63] {
            assert_eq!(
                SET.insert(page * PAGE + line * LINE, Policy::ONE_SHOT),
                Ok(true)
            );
        }
    }
    assert_eq!(SET.insert(4096 * PAGE, Policy::empty()), Err(Full));
    assert_eq!(SET.lines(4095 * PAGE), 1 | 1 << 17 | 1 << 63);
    for line in [0, 17, 63] {
        assert!(SET.remove(77 * PAGE + line * LINE));
    }
    assert_eq!(SET.insert(4096 * PAGE, Policy::empty()), Ok(true));
    assert_eq!(SET.next(4096 * PAGE), Some(4096 * PAGE));
    assert_eq!((SET.lines(77 * PAGE), SET.lines(4096 * PAGE)), (0, 1));
}

#[test]
fn the_top_of_the_address_space_is_an_address() {
    let set = PoisonSet::<2>::new();
    assert_eq!(set.insert(u64::MAX, Policy::empty()), Ok(true));
    assert_eq!(set.next(u64::MAX), Some(u64::MAX - 63));
    assert_eq!(set.lines(u64::MAX), 1 << 63);
}

/// One slot is passed from page to page as fast as can be. A page's lines are unlike those of any
/// other, so a reader that saw another's would notice.
#[test]
fn a_reader_sees_no_lines_of_another_page() {
    let rounds = if cfg!(miri) { 100 } else { 30_000 };
    let set = PoisonSet::<1>::new();
    let done = AtomicBool::new(false);
    let page = |number: u64| 0x10_0000 + number * PAGE;
    thread::scope(|scope| {
        for reader in 0..3 {
            let (set, done) = (&set, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for number in 0..3 {
                        let lines = set.lines(page(number));
                        assert_eq!(lines & !(0b11 << (2 * number)), 0, "page {number}");
                        let foreign = page(number) + LINE * (2 * ((number + 1) % 3));
                        assert!(!set.written(foreign, u64::MAX));
                        assert!(!set.remove(foreign));
                        let mine = page(number) + LINE * (2 * number);
                        if let Some(policy) = set.policy(mine) {
                            assert_eq!(policy.bits(), 1 << number);
                        }
                        if reader == 0 {
                            set.written(mine, u64::MAX);
                        }
                    }
                }
            });
        }
        let mut inserted = 0;
        while inserted < rounds {
            for number in 0..3 {
                let line = page(number) + LINE * (2 * number);
                let policy = Policy::from_bits_truncate(1 << number);
                // A reader's lease keeps the slot for a moment.
                while set.insert(line, policy).is_err() {
                    thread::yield_now();
                }
                set.remove(line);
                inserted += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Whatever CPUs race to make a line good, one of them does.
#[test]
fn one_caller_makes_a_line_good() {
    let rounds = if cfg!(miri) { 50 } else { 20_000 };
    let set = PoisonSet::<8>::new();
    let good = AtomicU64::new(0);
    let running = AtomicU64::new(3);
    let mut poisoned = 0;
    thread::scope(|scope| {
        for thread in 0..3 {
            let (set, good, running) = (&set, &good, &running);
            scope.spawn(move || {
                let half = if thread == 0 {
                    u64::MAX << 32
                } else {
                    u64::from(u32::MAX)
                };
                for _ in 0..rounds {
                    let done = match thread {
                        2 => set.remove(0x1000),
                        _ => set.written(0x1000, half),
                    };
                    good.fetch_add(u64::from(done), Ordering::Relaxed);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        while running.load(Ordering::Acquire) != 0 {
            poisoned += u64::from(set.insert(0x1000, Policy::empty()).expect("room"));
        }
    });
    let left = u64::from(set.lines(0x1000).count_ones());
    assert_eq!(good.load(Ordering::Relaxed) + left, poisoned);
}

/// A line that was poisoned again is not made good by bytes that were written before: each round
/// overwrites half a line before and half a line after.
#[test]
fn poisoning_again_forgets_what_was_written() {
    let set = PoisonSet::<8>::new();
    for round in 0..3 {
        assert_eq!(set.insert(0x40, Policy::empty()), Ok(round == 0));
        assert!(!set.written(0x40, u64::MAX << 32));
    }
    assert!(set.written(0x40, u64::from(u32::MAX)));
    assert!(!set.written(0x40, u64::MAX), "it is good already");
}

/// The tables of stage 2, as the injector and the CPU that steps write them: never may both the
/// page be mapped and the step not know of the line.
#[test]
fn a_step_knows_of_every_line_of_a_mapped_page() {
    const MAPPED: u64 = 1;
    let rounds = if cfg!(miri) { 50 } else { 20_000 };
    let set = PoisonSet::<2>::new();
    let leaf = AtomicU64::new(0);
    let turn = Mutex::new(());
    for round in 0..rounds {
        set.remove(0x1000);
        leaf.store(0, Ordering::Relaxed);
        let guard = turn.lock().unwrap();
        let seen = thread::scope(|scope| {
            let injector = scope.spawn(|| {
                drop(turn.lock());
                set.insert(0x1000, Policy::empty()).expect("room");
                leaf.store(0, Ordering::Relaxed);
            });
            let stepping = scope.spawn(|| {
                drop(turn.lock());
                leaf.store(MAPPED, Ordering::Relaxed);
                set.lines(0x1000)
            });
            drop(guard);
            injector.join().unwrap();
            stepping.join().unwrap()
        });
        let mapped = leaf.load(Ordering::Relaxed) == MAPPED;
        assert!(
            !mapped || seen == 1,
            "round {round}: mapped, and no watchpoint"
        );
    }
}
