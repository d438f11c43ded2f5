//! A stock Linux on the monitor, booted by firmware with ACPI and with a device tree.

use std::time::Duration;

use crate::command::Command;
use crate::linux;
use crate::test::step::Step;

/// The first run downloads a kernel and builds what goes with it; each other takes some 20 s.
const LIMIT: Duration = Duration::from_secs(900);

/// Servers with ACPI and one with a device tree; with LSE atomics and with exclusives; one CPU
/// and several.
const RUNS: [&[&str]; 4] = [
    &["--acpi", "--cpu", "max"],
    &["--acpi", "--cpu", "neoverse-n1", "--smp", "2"],
    &["--cpu", "max", "--smp", "2"],
    &["--cpu", "cortex-a57", "--smp", "2"],
];

pub(super) fn steps() -> Vec<Step> {
    RUNS.map(|arguments| {
        let command = Command::new("cargo")
            .args(["seaworthy", "check-linux"])
            .args(arguments.iter().copied());
        let step = Step::ktap(arguments.join(" ").replace("--", ""), command, LIMIT);
        linux::needs().into_iter().fold(step, Step::needing)
    })
    .into()
}
