//! What memory copies and sets have written and have yet to load, against a simulation of each
//! format and direction that the architecture lets a CPU choose.

use monitor::instruction::{Class, Mops, MopsValues, Stage, classify};
use monitor::instruction::{reach, store_range};
use monitor::watch::Reach;
use proptest::prelude::*;

const PSTATE_N: u64 = 1 << 31;
const PSTATE_C: u64 = 1 << 29;

/// How the simulated CPU does it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    option_b: bool,
    backward: bool,
}

/// A memory operation that has not begun: the first byte of each range, and their length.
#[derive(Clone, Copy, Debug)]
struct Job {
    destination: u64,
    source: u64,
    bytes: u64,
}

/// CPYP, CPYM, CPYE; CPYFP and so on; SETP and so on, on X0, X1 and X2.
const COPY: [u32; 3] = [0x1d01_0440, 0x1d41_0440, 0x1d81_0440];
const COPY_FORWARD: [u32; 3] = [0x1901_0440, 0x1941_0440, 0x1981_0440];
const SET: [u32; 3] = [0x19c1_0440, 0x19c1_4440, 0x19c1_8440];

fn mops(word: u32) -> Mops {
    match classify(word) {
        Class::Mops(mops) => mops,
        other => panic!("{word:#x}: {other:?}"),
    }
}

/// The registers after the prologue, with `done` bytes done.
fn progress(job: Job, choice: Choice, done: u64, moves_source: bool) -> MopsValues {
    let left = job.bytes - done;
    let (offset, size) = match (choice.option_b, choice.backward) {
        (false, false) => (job.bytes, left.wrapping_neg()),
        (false, true) => (0, left),
        (true, false) => (done, left),
        (true, true) => (left, left),
    };
    MopsValues {
        destination: job.destination.wrapping_add(offset),
        source: if moves_source {
            job.source.wrapping_add(offset)
        } else {
            job.source
        },
        size,
    }
}

/// The registers of a prologue that aborts with `done` bytes done: it starts again from these.
fn restart(job: Job, backward: bool, done: u64, moves_source: bool) -> MopsValues {
    let offset = if backward { 0 } else { done };
    MopsValues {
        destination: job.destination.wrapping_add(offset),
        source: if moves_source {
            job.source.wrapping_add(offset)
        } else {
            job.source
        },
        size: job.bytes - done,
    }
}

/// The addresses of the bytes from the `from`th to the `to`th that are done, starting at `first`.
fn part(job: Job, first: u64, backward: bool, from: u64, to: u64) -> std::ops::Range<u64> {
    if backward {
        first + job.bytes - to..first + job.bytes - from
    } else {
        first + from..first + to
    }
}

fn same(range: Option<std::ops::Range<u64>>, expected: &std::ops::Range<u64>) -> bool {
    range.is_some_and(|range| range == *expected || range.is_empty() && expected.is_empty())
}

fn reach_of(word: u32, values: MopsValues, pstate: u64) -> Reach {
    let registers = |number| match number {
        0 => values.destination,
        1 => values.source,
        2 => values.size,
        _ => unreachable!("the instruction has no such register"),
    };
    reach(word, &registers, pstate)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn progress_is_followed(
        (destination, source) in (1u64 << 20..1 << 50, 1u64 << 20..1 << 50),
        bytes in prop_oneof![0u64..200, 0..1u64 << 16],
        cuts in prop::array::uniform3(0u64..=1 << 16),
        halves in any::<[bool; 2]>(),
        (option_b, backward) in any::<(bool, bool)>(),
        family in 0usize..3,
    ) {
        let words = [COPY, COPY_FORWARD, SET][family];
        let choice = Choice { option_b, backward: backward && family == 0 };
        let job = Job { destination, source, bytes };
        let copies = family != 2;
        let pstate = match (choice.option_b, choice.backward) {
            (true, true) => PSTATE_C | PSTATE_N,
            (true, false) => PSTATE_C,
            (false, _) => 0,
        };
        // The prologue aborts, begins again and ends, here or there or exactly half way.
        let [aborted, prologue, main] = cuts.map(|cut| cut.min(bytes));
        let aborted = if halves[0] { bytes / 2 } else { aborted };
        let prologue = if halves[1] { bytes - (bytes - aborted) / 2 } else { prologue.max(aborted) };
        let main = main.max(prologue);
        let written = |from, to| part(job, destination, choice.backward, from, to);
        // What cannot be told from its opposite.
        let half = |done, all| family == 0 && done != 0 && 2 * done == all;

        let first = MopsValues { destination, source, size: bytes };
        let again = restart(job, choice.backward, aborted, copies);
        let rest = Job {
            destination: again.destination,
            source: if copies { again.source } else { source },
            bytes: again.size,
        };
        let after = |done| progress(rest, choice, done - aborted, copies);
        let [p, m, e] = words.map(mops);
        prop_assert_eq!([p.stage, m.stage, e.stage], [Stage::Prologue, Stage::Main, Stage::Epilogue]);
        let by_abort = p.written(first, again);
        prop_assert!(
            same(by_abort.clone(), &written(0, aborted)) || half(aborted, bytes) && by_abort.is_none()
        );
        let by_prologue = p.written(again, after(prologue));
        prop_assert!(
            same(by_prologue.clone(), &written(aborted, prologue))
                || half(prologue - aborted, rest.bytes) && option_b && by_prologue.is_none()
        );
        prop_assert!(same(m.written(after(prologue), after(main)), &written(prologue, main)));
        prop_assert!(same(e.written(after(main), after(bytes)), &written(main, bytes)));

        // What is left to load, at each abort.
        for (word, values, done, flags) in [
            (words[0], first, 0, pstate ^ PSTATE_C),
            (words[0], again, aborted, pstate ^ PSTATE_N),
            (words[1], after(prologue), prologue, pstate),
            (words[2], after(main), main, pstate),
        ] {
            let expected = part(job, source, choice.backward, done, bytes);
            let found = reach_of(word, values, flags);
            if copies {
                let length = expected.end - expected.start;
                prop_assert!(
                    matches!(found, Reach::Copy { start, length: n }
                        if n == length && (start == expected.start || n == 0)),
                    "{found:?}, not {expected:?}"
                );
            } else {
                prop_assert_eq!(found, Reach::Nothing);
            }
            prop_assert_eq!(store_range(word, &|_| 0), None);
        }
    }

    #[test]
    fn any_values_give_a_range_of_the_destination_or_none(
        before in any::<[u64; 3]>(),
        after in any::<[u64; 3]>(),
        near in 0u64..100,
        which in 0usize..9,
        pstate: u64,
    ) {
        let word = [COPY, COPY_FORWARD, SET].concat()[which];
        let values = |[destination, source, size]: [u64; 3]| MopsValues { destination, source, size };
        let mops = mops(word);
        let _ = mops.written(values(before), values(after));
        let _ = reach_of(word, values(before), pstate);
        let mut close = before;
        close[0] = close[0].wrapping_add(near);
        close[2] = close[2].wrapping_sub(near);
        if let Some(range) = mops.written(values(before), values(close)) {
            prop_assert!(range.end - range.start <= before[2].wrapping_sub(close[2]));
        }
    }
}

/// Sizes beyond what an operation does are cut down by its prologue.
#[test]
fn a_huge_size_is_saturated() {
    let before = MopsValues {
        destination: 0x1000,
        source: 0x2000,
        size: u64::MAX,
    };
    let most = 0x007f_ffff_ffff_ffff;
    let after = MopsValues {
        destination: 0x1000 + most,
        source: 0x2000 + most,
        size: (most - 64).wrapping_neg(),
    };
    assert_eq!(mops(COPY[0]).written(before, after), Some(0x1000..0x1040));
    let start = 0x2000;
    assert_eq!(
        reach_of(COPY[0], before, 0),
        Reach::Copy {
            start,
            length: most
        }
    );
}
