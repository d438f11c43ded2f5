//! Unit, property and documentation tests on this machine.

use std::time::Duration;

use crate::command::Command;
use crate::test::step::Step;
use crate::tools::Tool;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn steps(workspace: &Workspace) -> Vec<Step> {
    let test = || Command::new("cargo").arg("test");
    let musl = workspace.compiler.host_musl();
    vec![
        Step::tests("tests", test().arg("--workspace"), LIMIT),
        // Optimisation inlines and moves what stands around assembly.
        Step::tests(
            "tests of assembly, optimised",
            test().args([
                "--release",
                "--package",
                "seaworthy-copy",
                "--package",
                "seaworthy",
            ]),
            LIMIT,
        ),
        // Every interleaving. What is built for it is of no other use, so it goes elsewhere.
        Step::tests(
            "tests under loom",
            test()
                .args(["--release", "--package", "seaworthy-firmware"])
                .args(["--test", "loom", "--target-dir", "target/loom"])
                .env("RUSTFLAGS", "--cfg under_loom"),
            LIMIT,
        ),
        Step::tests(
            "the kernel's queue under loom",
            test()
                .args(["--release", "--package", "seaworthy-kernel"])
                .args(["--lib", "loom", "--target-dir", "target/loom"])
                .env("RUSTFLAGS", "--cfg under_loom"),
            LIMIT,
        ),
        Step::tests(
            "the memory manager's count of users under loom",
            test()
                .args(["--release", "--package", "seaworthy-mm"])
                .args(["--lib", "loom", "--target-dir", "target/loom"])
                .env("RUSTFLAGS", "--cfg under_loom"),
            LIMIT,
        ),
        // The signal frames and system calls of another C library.
        Step::tests(
            "tests with musl",
            test().args(["--target", &musl, "--package", "seaworthy"]),
            LIMIT,
        )
        .needing(Tool::Target(musl)),
    ]
}
