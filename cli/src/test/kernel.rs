//! Our kernel: bad input, on QEMU alone; and on the monitor every scenario, with recovery on and off,
//! and memory that fails at random.

use std::time::Duration;

use crate::command::Command;
use crate::linux;
use crate::test::step::Step;

/// For one step on a busy machine. The first run builds the kernel and what goes with it.
const LIMIT: Duration = Duration::from_secs(300);

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

/// Programs that give the kernel bad input, and what the steps are called.
const BAD_INPUT: [(&str, &str); 2] = [
    ("errors of system calls", "/bin/errno-table"),
    (
        "random system calls",
        "/bin/syscall-fuzz --seconds 6 --seed 1 --seed 2 --seed 3",
    ),
];

/// The programs print KTAP on the console.
fn bad_input((name, program): (&str, &str)) -> Step {
    let command = Command::new("cargo").args(["seaworthy", "run", "--smp", "2"]);
    let command = command.args(["--name", "test-kernel", "--", "loglevel=1", "--"]);
    Step::ktap(name, command.args(program.split(' ')), LIMIT)
}

pub(super) fn steps() -> Vec<Step> {
    let campaigns = RUNS.map(|arguments| {
        let command = Command::new("cargo")
            .args(["seaworthy", "campaign", "--ktap"])
            .args(arguments.iter().copied());
        let name = format!("campaign {}", arguments.join(" ").replace("--", ""));
        Step::ktap(name, command, LIMIT)
    });
    let soak = Step::ktap(
        "memory fails at random",
        Command::new("cargo").args(["seaworthy", "soak", "--seed", "1", "--seed", "2"]),
        LIMIT,
    );
    let steps = BAD_INPUT.into_iter().map(bad_input).chain(campaigns);
    let steps = steps.chain([soak]);
    let needing = |step| linux::needs().into_iter().fold(step, Step::needing);
    steps.map(needing).collect()
}
