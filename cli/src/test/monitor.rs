//! The monitor in QEMU: its acceptance guest on several processors, and what the host does with it.

use std::env;
use std::time::Duration;

use crate::command::Command;
use crate::machine::monitor;
use crate::test::step::Step;

/// Most take some 20 s.
const LIMIT: Duration = Duration::from_secs(300);

/// Names the number of random accesses of each run, for a longer test than that of every day.
const ACCESSES: &str = "SEAWORTHY_ACCESSES";

/// Time for one random access, under a monitor and on a busy machine.
const ACCESS_LIMIT: Duration = Duration::from_micros(500);

/// What differs between them is what a monitor meets: memory tags and FEAT_MOPS, LSE atomics,
/// exclusives without FEAT_RAS; one CPU and several.
const RUNS: [&[&str]; 5] = [
    &["--cpu", "max", "--smp", "1"],
    &["--cpu", "max", "--mte", "--smp", "4"],
    &["--cpu", "neoverse-n1", "--smp", "4"],
    &["--cpu", "cortex-a57", "--smp", "1"],
    &["--cpu", "cortex-a57", "--smp", "4"],
];

/// The same each time; a seed that finds something goes into `monitor/guest/seeds.txt`.
const SEEDS: [&str; 2] = ["1", "2"];

pub(super) fn steps() -> Vec<Step> {
    let accesses = env::var(ACCESSES).ok();
    let mut steps = vec![
        step("host side", &["--host"]),
        step(
            "holes without the monitor",
            &["--without-monitor", "--only", "holes"],
        ),
        step("recorded runs", &["--recorded"]),
    ];
    for run in RUNS {
        let name = run.join(" ").replace("--", "");
        let mut arguments = run.to_vec();
        for seed in SEEDS {
            arguments.extend(["--seed", seed]);
        }
        if let Some(accesses) = &accesses {
            arguments.extend(["--count", accesses]);
        }
        steps.push(step(&name, &arguments));
    }
    steps
}

fn step(name: &str, arguments: &[&str]) -> Step {
    let command = Command::new("cargo")
        .args(["seaworthy", "check-monitor"])
        .args(arguments.iter().copied());
    let accesses: u32 = arguments
        .iter()
        .skip_while(|argument| **argument != "--count")
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    let seeds = SEEDS.len() as u32;
    let step = Step::ktap(name, command, LIMIT + ACCESS_LIMIT * accesses * seeds);
    monitor::needs().into_iter().fold(step, Step::needing)
}
