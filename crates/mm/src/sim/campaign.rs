//! Many episodes on several threads. An episode is a short program in a fresh world, so that
//! frames which failed do not use a world up, and a failing one is short from the start.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;
use std::vec::Vec;

use super::machine::locked;
use super::{Counts, Failure, Random, Script, run, script};

/// Steps of an episode.
pub const EPISODE: u64 = 500;
/// No episode takes this long unless it does not end.
const LIMIT: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seeds. Each is as many steps, and everything follows from it.
    pub seeds: Range<u64>,
    /// How many steps each, rounded up to whole episodes.
    pub steps: u64,
    /// How many threads, at least one.
    pub jobs: usize,
}

/// An episode that broke a promise.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// Which episode of the seed.
    pub episode: u64,
    /// Its steps, not shortened.
    pub script: Script,
    /// How.
    pub failure: Failure,
    /// Whether it ended at all: one that did not must not be run again.
    pub ended: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What happened in all episodes that kept their promises.
    pub counts: Counts,
    /// Those that did not: at most one of each thread, since all stop at the first.
    pub broken: Vec<Broken>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What the threads share.
struct Shared {
    seeds: Range<u64>,
    episodes_per_seed: u64,
    next: AtomicU64,
    stop: AtomicBool,
    summary: Mutex<Summary>,
    /// Which episode each thread is at, and since when.
    current: Vec<Mutex<Option<(u64, Instant)>>>,
}

impl Campaign {
    /// Runs it. `progress` is called now and then with what happened so far.
    ///
    /// If an operation never returns, neither does its thread: the process should end.
    pub fn run(&self, mut progress: impl FnMut(&Counts)) -> Summary {
        let start = Instant::now();
        let shared = Arc::new(Shared {
            seeds: self.seeds.clone(),
            episodes_per_seed: self.steps.div_ceil(EPISODE),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            summary: Mutex::default(),
            current: (0..self.jobs.max(1)).map(|_| Mutex::default()).collect(),
        });
        let threads: Vec<_> = (0..shared.current.len())
            .map(|thread| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.work(thread))
            })
            .collect();
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            thread::sleep(GLANCE);
            progress(&locked(&shared.summary).counts);
            if let Some(broken) = shared.endless() {
                locked(&shared.summary).broken.push(broken);
                break;
            }
        }
        let mut summary = locked(&shared.summary).clone();
        summary.elapsed = start.elapsed();
        summary
    }
}

impl Shared {
    fn work(&self, thread: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((seed, episode)) = self.episode(number) else {
                break;
            };
            *locked(&self.current[thread]) = Some((number, Instant::now()));
            let result = run(mix(seed, episode), EPISODE as usize);
            let mut summary = locked(&self.summary);
            match result {
                Ok(counts) => summary.counts += counts,
                Err((script, failure)) => {
                    self.stop.store(true, Ordering::Relaxed);
                    summary.broken.push(Broken {
                        seed,
                        episode,
                        script,
                        failure,
                        ended: true,
                    });
                }
            }
        }
        *locked(&self.current[thread]) = None;
    }

    fn episode(&self, number: u64) -> Option<(u64, u64)> {
        let seed = self.seeds.start + number.checked_div(self.episodes_per_seed)?;
        (seed < self.seeds.end).then_some((seed, number % self.episodes_per_seed))
    }

    /// An episode that takes so long that it will not end.
    fn endless(&self) -> Option<Broken> {
        let started = self.current.iter().filter_map(|current| *locked(current));
        let (number, _) = started
            .filter(|(_, since)| since.elapsed() > LIMIT)
            .min_by_key(|(number, _)| *number)?;
        let (seed, episode) = self.episode(number)?;
        let failure = Failure {
            step: EPISODE as usize,
            what: String::from("an operation does not return"),
        };
        Some(Broken {
            seed,
            episode,
            script: script(mix(seed, episode), EPISODE as usize),
            failure,
            ended: false,
        })
    }
}

/// The seed of an episode.
fn mix(seed: u64, episode: u64) -> u64 {
    Random(Random(seed).number().wrapping_add(episode)).number()
}
