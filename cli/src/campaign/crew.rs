//! Deals cases out to guests that run at once.

use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};
use programs::case::Scenario;

use crate::campaign::driver::Driver;
use crate::campaign::guest::Run;
use crate::campaign::report::Case;

/// Lines that a guest takes at once: few, so that none has much left when the others are done.
const LINES_OF_JOB: usize = 16;

/// Some lines of a scenario.
struct Job {
    /// Which of the runs.
    run: usize,
    scenario: Scenario,
    lines: Vec<u32>,
}

/// Runs all `lines` of all `scenarios` in each of `runs`, with so many guests at once. `result` gets
/// what came of the cases as they end. Returns how often guests have booted.
///
/// # Errors
///
/// The first one of a guest that does not boot, or of `result`. What has begun is finished.
pub(super) fn run(
    runs: &[Run],
    scenarios: &[Scenario],
    lines: &[u32],
    seed: u64,
    guests: usize,
    mut result: impl FnMut(Case) -> Result<()>,
) -> Result<usize> {
    let jobs = (0..runs.len()).flat_map(|run| {
        scenarios.iter().flat_map(move |&scenario| {
            let lines = scenario.lines(lines);
            let parts: Vec<_> = lines.chunks(LINES_OF_JOB).map(<[u32]>::to_vec).collect();
            parts.into_iter().map(move |lines| Job {
                run,
                scenario,
                lines,
            })
        })
    });
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (send, cases) = mpsc::channel();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..guests)
            .map(|number| {
                let send = send.clone();
                scope.spawn(move || {
                    let done = work(runs, number, next, seed, &send);
                    if done.is_err() {
                        // Nor shall the others go on.
                        while next().is_some() {}
                    }
                    done
                })
            })
            .collect();
        drop(send);
        let heard = cases.iter().try_for_each(&mut result);
        // Whoever has another result to tell now stops.
        drop(cases);
        let mut boots = 0;
        let mut ended = heard;
        for worker in workers {
            let done = worker
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a guest's thread panicked")));
            match done {
                Ok(more) => boots += more,
                Err(error) => ended = ended.and(Err(error)),
            }
        }
        ended.map(|()| boots)
    })
}

/// What one guest does, or one for each run. Returns how often they have booted.
fn work(
    runs: &[Run],
    number: usize,
    next: impl Fn() -> Option<Job>,
    seed: u64,
    cases: &Sender<Case>,
) -> Result<usize> {
    let mut drivers: Vec<_> = runs.iter().map(|run| Driver::new(run, number)).collect();
    while let Some(job) = next() {
        let (run, driver) = (&runs[job.run], &mut drivers[job.run]);
        driver.run(job.scenario, &job.lines, seed, |line, seen| {
            let case = Case::judge(run, job.scenario, line, seen);
            cases.send(case).map_err(|_| anyhow!("nobody listens"))
        })?;
    }
    Ok(drivers.iter().map(Driver::boots).sum())
}
