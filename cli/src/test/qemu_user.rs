//! Tests for arm64, as static Linux programs on an emulated processor.

use std::time::Duration;

use crate::command::Command;
use crate::test::step::Step;
use crate::tools::{QEMU_USER, Tool};

/// A fault whose signal is blocked makes qemu-user spin for ever, so this is an expected end. If
/// every step comes to it, there is still time for the summary in a job of 25 minutes.
const LIMIT: Duration = Duration::from_secs(180);

const TARGET: &str = "aarch64-unknown-linux-musl";

/// One with FEAT_MOPS and FEAT_MTE, one with neither: each takes other routines.
const PROCESSORS: [&str; 2] = ["max", "neoverse-n1"];

/// What has code of its own for arm64.
const PACKAGES: [&str; 3] = ["seaworthy-extable", "seaworthy-copy", "seaworthy"];

pub(super) fn steps() -> Vec<Step> {
    PROCESSORS
        .iter()
        .flat_map(|processor| [false, true].map(|optimised| step(processor, optimised)))
        .collect()
}

fn step(processor: &str, optimised: bool) -> Step {
    let mut command = Command::new("cargo")
        .args(["test", "--target", TARGET])
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER",
            format!("qemu-aarch64 -cpu {processor}"),
        );
    let mut name = format!("tests on {processor}");
    if optimised {
        command = command.arg("--release");
        name += ", optimised";
    }
    Step::tests(name, command, LIMIT)
        .needing(Tool::Target(TARGET.to_owned()))
        .needing(Tool::Qemu(QEMU_USER))
}
