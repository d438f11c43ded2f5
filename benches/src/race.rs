//! Contestants take turns on the same memory, round after round; each round gives one ratio.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contestant::Contestant;
use crate::memory::{Operation, Place};
use crate::statistics::{Sorted, ratio_median};

/// How long to go on with one race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) time: Duration,
    pub(crate) least_rounds: usize,
}

/// The outcome for the first contestant.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Median nanoseconds of a call.
    pub(crate) ns_median: f64,
    /// One for each rival: the median of the ratios.
    pub(crate) ratio_medians: Vec<f64>,
}

/// Lets `ours` and the rivals take turns, each round at the place that `place` says.
///
/// # Errors
///
/// If one of them fails, or does not do what it should.
pub(crate) fn run(
    operation: Operation,
    ours: &Contestant,
    rivals: &[Contestant],
    place: impl Fn(usize) -> Place,
    effort: Effort,
) -> Result<Standing> {
    let contestants: Vec<&Contestant> = [ours].into_iter().chain(rivals).collect();
    let first = place(0);
    for contestant in &contestants {
        ensure!(
            operation.is_done_by(|place| contestant.call(place), first),
            "{} does not do what it should with {first:?}",
            contestant.name
        );
    }
    let calls = contestants
        .iter()
        .map(|contestant| calls_per_turn(contestant, first))
        .collect::<Result<Vec<usize>>>()?;
    let mut times = vec![Vec::new(); contestants.len()];
    let start = Instant::now();
    for round in 0.. {
        if round >= effort.least_rounds && start.elapsed() > effort.time {
            break;
        }
        let place = place(round);
        operation.prepare(place);
        for index in turns(round, contestants.len()) {
            times[index].push(contestants[index].time(place, calls[index])?);
        }
    }
    Ok(Standing {
        ratio_medians: times[1..]
            .iter()
            .map(|theirs| ratio_median(&times[0], theirs))
            .collect(),
        ns_median: Sorted::new(times.swap_remove(0)).median(),
    })
}

/// How many calls take as long as a turn should: short, so that there are many rounds.
fn calls_per_turn(contestant: &Contestant, place: Place) -> Result<usize> {
    const NANOSECONDS: f64 = 40e3;
    let mut calls = 1;
    loop {
        let each = contestant.time(place, calls)?;
        if each * calls as f64 > NANOSECONDS / 4.0 {
            return Ok((NANOSECONDS / each).max(1.0) as usize);
        }
        calls *= 4;
    }
}

/// The order within a round: each contestant gets each turn, and each neighbour on both sides.
pub(crate) fn turns(round: usize, contestants: usize) -> impl Iterator<Item = usize> {
    (0..contestants).map(move |turn| {
        let index = (turn + round / 2) % contestants;
        if round.is_multiple_of(2) {
            index
        } else {
            contestants - 1 - index
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Alignment, Arena};

    #[test]
    fn everyone_gets_every_turn() {
        for contestants in 1..6 {
            for turn in 0..contestants {
                let mut count = vec![0; contestants];
                for round in 0..2 * contestants {
                    let order: Vec<usize> = turns(round, contestants).collect();
                    let mut sorted = order.clone();
                    sorted.sort_unstable();
                    assert!(sorted.into_iter().eq(0..contestants));
                    count[order[turn]] += 1;
                }
                assert_eq!(count, vec![2; contestants]);
            }
        }
    }

    #[test]
    fn a_race_measures_and_a_wrong_copy_ends_it() {
        extern "C" fn copy(destination: *mut u8, source: *const u8, length: usize) -> usize {
            // SAFETY: called with a place.
            unsafe { source.copy_to(destination, length) };
            0
        }
        extern "C" fn nothing() -> usize {
            0
        }
        let contestant = |name: &str, function| {
            // SAFETY: both may be called with the arguments of a copy.
            unsafe { Contestant::new(name, Operation::Copy, function, |rest, _| rest == 0) }
        };
        let right = || contestant("right", copy as *const ());
        let wrong = contestant("wrong", nothing as *const ());
        let arena = Arena::new(100).unwrap();
        let run = |rival| {
            let place = |round| arena.place(100, Alignment::None, round);
            let effort = Effort {
                time: Duration::ZERO,
                least_rounds: 3,
            };
            run(Operation::Copy, &right(), &[rival], place, effort)
        };
        let standing = run(right()).unwrap();
        assert!(standing.ns_median > 0.0 && standing.ratio_medians[0] > 0.0);
        let error = run(wrong).unwrap_err().to_string();
        assert!(
            error.starts_with("wrong does not do what it should"),
            "{error}"
        );
    }
}
