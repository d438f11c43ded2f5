//! Tests for arm64, as static Linux programs on an emulated processor.

use std::time::Duration;

use crate::command::Command;
use crate::test::step::Step;
use crate::tools::{QEMU_USER, Tool};

/// A fault whose signal is blocked makes qemu-user spin for ever, so this is an expected end. If
/// every step comes to it, there is still time for the summary in a job of 25 minutes.
const LIMIT: Duration = Duration::from_secs(300);

const TARGET: &str = "aarch64-unknown-linux-musl";

/// One with FEAT_MOPS and FEAT_MTE, one with neither: each takes other routines.
const PROCESSORS: [&str; 2] = ["max", "neoverse-n1"];

/// What has code of its own for arm64.
const PACKAGES: [&str; 4] = [
    "seaworthy-extable",
    "seaworthy-copy",
    "seaworthy-string",
    "seaworthy",
];

pub(super) fn steps() -> Vec<Step> {
    PROCESSORS.map(step).into()
}

fn step(processor: &str) -> Step {
    let command = Command::new("cargo")
        // Emulated and not optimised, the grids of the copy routines take many minutes.
        .args(["test", "--release", "--target", TARGET])
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER",
            format!("qemu-aarch64 -cpu {processor}"),
        );
    Step::tests(format!("tests on {processor}"), command, LIMIT)
        .needing(Tool::Target(TARGET.to_owned()))
        .needing(Tool::Qemu(QEMU_USER))
}
