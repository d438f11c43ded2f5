//! Contestants take turns on the same memory, round after round; each round gives one ratio.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::memory::Place;
use crate::statistics::{Sorted, ratio_median};

/// One implementation of an operation.
pub(crate) struct Contestant {
    pub(crate) name: String,
    calls: Box<dyn Fn(Place, usize) -> bool>,
}

impl Contestant {
    /// `call` says whether it worked. It should call through a pointer that the compiler cannot
    /// see through, as every other does.
    pub(crate) fn new(name: impl Into<String>, call: impl Fn(Place) -> bool + 'static) -> Self {
        Self {
            name: name.into(),
            // The loop is compiled into each contestant, so that no second call is timed.
            calls: Box::new(move |place, calls| (0..calls).all(|_| call(place))),
        }
    }

    pub(crate) fn call(&self, place: Place) -> bool {
        (self.calls)(place, 1)
    }

    /// Nanoseconds per call.
    fn time(&self, place: Place, calls: usize) -> Result<f64> {
        // One call first: the caches are then as this contestant leaves them.
        let warm = self.call(place);
        let start = Instant::now();
        let works = (self.calls)(place, calls);
        let elapsed = start.elapsed();
        ensure!(warm && works, "{} failed during the race", self.name);
        Ok(elapsed.as_secs_f64() * 1e9 / calls as f64)
    }

    /// How many calls take as long as a turn should.
    fn calls_per_turn(&self, place: Place) -> Result<usize> {
        const TURN: f64 = 50e3;
        let mut calls = 1;
        loop {
            let each = self.time(place, calls)?;
            if each * calls as f64 > TURN / 4.0 {
                return Ok((TURN / each).max(1.0) as usize);
            }
            calls *= 4;
        }
    }
}

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

/// Lets `ours` and the rivals take turns at `place`.
///
/// # Errors
///
/// If one of them fails.
pub(crate) fn run(
    ours: &Contestant,
    rivals: &[&Contestant],
    place: Place,
    effort: Effort,
) -> Result<Standing> {
    let contestants: Vec<&Contestant> = [&[ours], rivals].concat();
    let calls = contestants
        .iter()
        .map(|contestant| contestant.calls_per_turn(place))
        .collect::<Result<Vec<usize>>>()?;
    let mut times = vec![Vec::new(); contestants.len()];
    let start = Instant::now();
    for round in 0.. {
        if round >= effort.least_rounds && start.elapsed() > effort.time {
            break;
        }
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
    fn a_race_measures_and_a_failure_ends_it() {
        let place = Place {
            destination: std::ptr::null_mut(),
            source: std::ptr::null(),
            length: 0,
        };
        let effort = Effort {
            time: Duration::ZERO,
            least_rounds: 3,
        };
        let works = || Contestant::new("works", |_| std::hint::black_box(true));
        let standing = run(&works(), &[&works()], place, effort).unwrap();
        assert!(standing.ns_median > 0.0 && standing.ratio_medians[0] > 0.0);
        let fails = Contestant::new("fails", |_| false);
        let error = run(&works(), &[&fails], place, effort).unwrap_err();
        assert_eq!(error.to_string(), "fails failed during the race");
    }
}
