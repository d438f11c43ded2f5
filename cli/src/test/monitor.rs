//! The monitor in QEMU: its acceptance guest on several processors, and what the host does with it.

use std::env;
use std::time::Duration;

use crate::command::Command;
use crate::machine::monitor;
use crate::test::step::Step;

/// For all but random accesses. Most steps take some seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// Names the number of random accesses in all of the runs, for a test that is longer than usual.
const ACCESSES: &str = "SEAWORTHY_ACCESSES";

/// Accesses if it is not given.
const USUAL_ACCESSES: u32 = 140_000;

/// Time for one random access of a guest with several CPUs, on a busy machine.
const ACCESS_LIMIT: Duration = Duration::from_millis(5);

/// What differs between them is what a monitor meets: memory tags and FEAT_MOPS, LSE atomics,
/// exclusives without FEAT_RAS; one CPU and several.
///
/// The seeds are the same each time; one that finds something goes into `monitor/guest/seeds.txt`.
/// More CPUs than the host has take long, so they get one.
const RUNS: [(&[&str], &[&str]); 5] = [
    (&["--cpu", "max", "--smp", "1"], &["1", "2"]),
    (&["--cpu", "max", "--mte", "--smp", "4"], &["3"]),
    (&["--cpu", "neoverse-n1", "--smp", "4"], &["4"]),
    (&["--cpu", "cortex-a57", "--smp", "1"], &["5", "6"]),
    (&["--cpu", "cortex-a57", "--smp", "4"], &["7"]),
];

pub(super) fn steps() -> Vec<Step> {
    let (count, accesses) = share(env::var(ACCESSES).ok());
    let holes = ["--without-monitor", "--only", "holes"];
    let mut steps = vec![
        step("host side", &["--host"], 0),
        step("holes without the monitor", &holes, 0),
        step("recorded runs", &["--recorded"], 0),
    ];
    for (run, seeds) in RUNS {
        let name = run.join(" ").replace("--", "");
        let mut arguments = run.to_vec();
        arguments.extend(["--count", &count]);
        for seed in seeds {
            arguments.extend(["--seed", seed]);
        }
        let accesses = accesses.saturating_mul(seeds.len() as u32);
        steps.push(step(&name, &arguments, accesses));
    }
    steps
}

/// What each seed is told to make of so many accesses, and how many that are.
fn share(wanted: Option<String>) -> (String, u32) {
    let accesses = match wanted.map(|text| text.parse().map_err(|_| text)) {
        None => USUAL_ACCESSES,
        Some(Ok(accesses)) => accesses,
        // The steps refuse it.
        Some(Err(nonsense)) => return (nonsense, 0),
    };
    let seeds: usize = RUNS.iter().map(|(_, seeds)| seeds.len()).sum();
    let each = accesses.div_ceil(seeds as u32);
    (each.to_string(), each)
}

/// A step that makes so many random accesses, apart from what it does anyway.
fn step(name: &str, arguments: &[&str], accesses: u32) -> Step {
    let command = Command::new("cargo")
        .args(["seaworthy", "check-monitor"])
        .args(arguments.iter().copied());
    let step = Step::ktap(name, command, LIMIT + ACCESS_LIMIT * accesses);
    monitor::needs().into_iter().fold(step, Step::needing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_shared_by_all_runs() {
        let share = |text: &str| share(Some(text.to_owned()));
        assert_eq!(share("700000"), ("100000".to_owned(), 100_000));
        assert_eq!(share("1"), ("1".to_owned(), 1));
        assert_eq!(share("1e6").0, "1e6");
    }

    #[test]
    fn each_run_is_a_step() {
        assert_eq!(steps().len(), 3 + RUNS.len());
    }
}
