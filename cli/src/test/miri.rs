//! The pure crates under Miri, which finds undefined behaviour.

use std::env;
use std::time::Duration;

use crate::command::Command;
use crate::test::step::Step;
use crate::tools::{self, Tool};

/// Miri is slow: it interprets.
const LIMIT: Duration = Duration::from_secs(900);

/// Cases of each property test that does not set a number itself.
const CASES: &str = "8";

/// What makes no system calls, without its assembly: `seaworthy-copy` gets its generic routines.
const PURE_PACKAGES: [&str; 3] = ["seaworthy-syndrome", "seaworthy-extable", "seaworthy-copy"];

/// What parses firmware's records and tables: safe Rust, and four minutes. Run under Miri if
/// `SEAWORTHY_EXHAUSTIVE` is set.
const PARSERS: [&str; 2] = ["seaworthy-cper", "seaworthy-apei"];

pub(super) fn steps() -> Vec<Step> {
    let toolchain = tools::nightly_for_miri();
    let parsers = match env::var_os("SEAWORTHY_EXHAUSTIVE") {
        Some(_) => &PARSERS[..],
        None => &[],
    };
    let packages = PURE_PACKAGES
        .iter()
        .chain(parsers)
        .flat_map(|package| ["--package", package]);
    let miri = || {
        Command::new("cargo")
            .arg(format!("+{toolchain}"))
            .args(["miri", "test"])
            // Tests read the variables of this step and write to the file for skips.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("PROPTEST_CASES", CASES)
    };
    // Not the documentation's examples: they may use symbols that only a linker makes.
    let pure = miri().args(packages).arg("--tests");
    // Safe Rust. The tests that take minutes say so, and are left out.
    let memory_manager = miri().args(["--package", "seaworthy-mm", "--lib"]);
    [
        Step::tests("tests of the pure crates", pure, LIMIT),
        Step::tests("unit tests of the memory manager", memory_manager, LIMIT),
    ]
    .map(|step| {
        step.needing(Tool::Miri {
            toolchain: toolchain.clone(),
        })
    })
    .into()
}
