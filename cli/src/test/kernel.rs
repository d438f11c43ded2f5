//! Our kernel on the monitor: every scenario, with recovery on and off.

use std::time::Duration;

use crate::command::Command;
use crate::linux;
use crate::test::step::Step;

/// Most of it is restarts after panics. The first run builds the kernel and what goes with it.
const LIMIT: Duration = Duration::from_secs(600);

/// With MOPS and without, with LSE atomics and without, one CPU and several; some lines of the page.
const RUNS: [&[&str]; 4] = [
    &["--cpu", "max", "--lines", "0,63"],
    &[
        "--cpu",
        "max",
        "--smp",
        "4",
        "--recover",
        "on",
        "--lines",
        "0,1,31,62,63",
    ],
    &[
        "--cpu",
        "neoverse-n1",
        "--smp",
        "2",
        "--recover",
        "on",
        "--exhaustive",
    ],
    &[
        "--cpu",
        "cortex-a57",
        "--recover",
        "on",
        "--lines",
        "0,17,63",
    ],
];

pub(super) fn steps() -> Vec<Step> {
    RUNS.map(|arguments| {
        let command = Command::new("cargo")
            .args(["seaworthy", "campaign", "--ktap"])
            .args(arguments.iter().copied());
        let name = format!("campaign {}", arguments.join(" ").replace("--", ""));
        let step = Step::ktap(name, command, LIMIT);
        linux::needs().into_iter().fold(step, Step::needing)
    })
    .into()
}
