//! Format, clippy and documentation.

use std::time::Duration;

use crate::command::Command;
use crate::test::step::Step;
use crate::tools::{CLIPPY, RUSTFMT, Tool};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(600);

/// Where `crates/` must build with nothing but `core` and `alloc`: kernel and monitor, and the
/// developer's own kind of machine.
const BARE_TARGETS: [&str; 3] = [
    "aarch64-unknown-none",
    "aarch64-unknown-none-softfloat",
    "x86_64-unknown-none",
];

/// What is a stub or has a stand-in anywhere else: the monitor, the guest that checks it, and the
/// kernel.
const MACHINE_TARGET: &str = "aarch64-unknown-none-softfloat";
const MACHINE_PROGRAMS: [&str; 6] = [
    "--package",
    "seaworthy-monitor",
    "--package",
    "seaworthy-guest",
    "--package",
    "seaworthy-kernel",
];

pub(super) fn steps(workspace: &Workspace) -> Vec<Step> {
    let format = Command::new("cargo").args(["fmt", "--all", "--check"]);
    let mut steps = vec![
        Step::check("format", format, LIMIT).needing(RUSTFMT),
        clippy(&workspace.compiler.host, &["--workspace", "--all-targets"]),
        clippy_on(
            "aarch64-unknown-linux-musl",
            "std,panic_unwind,test",
            &["--workspace", "--all-targets"],
        ),
    ];
    // Without the tests, which need an operating system.
    let mut libraries = vec!["--lib"];
    libraries.extend(
        workspace
            .no_std_packages
            .iter()
            .flat_map(|name| ["--package", name]),
    );
    steps.extend(BARE_TARGETS.map(|target| clippy_on(target, "core,alloc", &libraries)));
    steps.push(clippy_on(MACHINE_TARGET, "core,alloc", &MACHINE_PROGRAMS));
    steps.push(Step::check("documentation", documentation(), LIMIT));
    steps
}

fn clippy(target: &str, arguments: &[&str]) -> Step {
    let command = Command::new("cargo")
        .arg("clippy")
        .args(arguments.iter().copied())
        .args(["--", "-D", "warnings"]);
    Step::check(format!("clippy for {target}"), command, LIMIT).needing(CLIPPY)
}

/// Clippy for another target, whose `library` can be built from source if need be.
fn clippy_on(target: &str, library: &'static str, arguments: &[&str]) -> Step {
    let arguments = [&["--target", target], arguments].concat();
    clippy(target, &arguments)
        .needing(Tool::Target(target.to_owned()))
        .or_building(library)
}

/// With private items rustdoc checks all that it checks without, and what only developers read.
fn documentation() -> Command {
    Command::new("cargo")
        .args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-D warnings")
}
