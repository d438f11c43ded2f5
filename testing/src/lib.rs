//! Lets a test say at run time that it cannot run here, and why; and runs tests that fork.
//!
//! `#[ignore]` is decided when a test is compiled. Whether a processor has FEAT_MOPS or a kernel
//! lets a process poison its memory is known only when the test runs. Such a test calls [`skip!`]:
//!
//! ```no_run
//! # fn has_mops() -> bool { false }
//! # #[test]
//! fn copies_with_mops() {
//!     if !has_mops() {
//!         testing::skip!("this processor has no FEAT_MOPS");
//!     }
//!     // ...
//! }
//! ```
//!
//! libtest has no such outcome and reports the test as passed. So that no skipped test is taken
//! for a passed one, the skip is recorded in the file that the environment variable [`SKIPS`]
//! names; `cargo seaworthy test` sets it, reads the file and counts the test as skipped. Without
//! the variable, the skip is a line on standard error, which libtest does not capture.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Name of the environment variable that holds the path of the file to which skips are appended.
///
/// A skip is one line: the path of the test, its crate first, then a tab, then the reason.
pub const SKIPS: &str = "SEAWORTHY_SKIPS";

/// Ends the calling test, which returns `()`, as skipped for the given reason.
///
/// Takes what [`format!`] takes. Call it in the test itself, not in a helper or a closure: it
/// returns from the function it stands in.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        // The path of an item inside the test, because the name of the thread lacks the crate
        // and is that of a test only on the thread that libtest started. `core`, because the
        // test may be in a crate without `std`.
        fn here() {}
        $crate::record(::core::any::type_name_of_val(&here), ::core::format_args!($($reason)+));
        return;
    }};
}

/// The `main` of a test program (`harness = false`) whose tests run on the one thread there is,
/// one after the other. libtest starts and ends threads at any time, and whoever forks meanwhile
/// has a child in which a lock is held for ever.
///
/// Takes the names of the tests, which are functions without arguments.
#[macro_export]
macro_rules! without_threads {
    ($($test:ident),* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_without_threads(&[$((stringify!($test), $test)),*])
        }
    };
}

/// Runs tests for [`without_threads!`].
#[doc(hidden)]
pub fn run_without_threads(tests: &[(&str, fn())]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = tests.iter().map(|&(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Records that the test which contains the item `place` is skipped. For [`skip!`].
///
/// # Panics
///
/// When the skip cannot be recorded. The test then fails rather than passes.
#[doc(hidden)]
pub fn record(place: &str, reason: fmt::Arguments<'_>) {
    let (name, reason) = (test_name(place), one_line(&reason.to_string()));
    let written = match env::var_os(SKIPS) {
        Some(file) => append(&file, &format!("{name}\t{reason}\n")),
        None => io::stderr().write_all(format!("skipped: {name}: {reason}\n").as_bytes()),
    };
    if let Err(error) = written {
        panic!("cannot record that {name} is skipped ({reason}): {error}; check {SKIPS}");
    }
}

/// One write to a file opened for appending: lines of concurrent tests do not mix.
fn append(file: &OsStr, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(line.as_bytes())
}

/// `copy::tests::mops::{{closure}}::here` is in `copy::tests::mops`.
fn test_name(place: &str) -> &str {
    let name = place.strip_suffix("::here").unwrap_or(place);
    name.find("::{{").map_or(name, |closure| &name[..closure])
}

/// A tab or a line break in a reason would read as the next field or the next skip.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_name_is_the_path_of_the_test() {
        assert_eq!(test_name("copy::tests::mops::here"), "copy::tests::mops");
        assert_eq!(test_name("copy::mops::{{closure}}::here"), "copy::mops");
        assert_eq!(
            test_name("copy::mops::{{closure}}::{{closure}}::here"),
            "copy::mops"
        );
    }

    #[test]
    fn reason_fits_on_one_line() {
        assert_eq!(one_line("no\tMOPS\n here "), "no MOPS here");
    }

    #[test]
    fn lines_are_appended() {
        let file = env::temp_dir().join(format!("seaworthy-testing-{}", std::process::id()));
        append(file.as_os_str(), "a\tb\n").unwrap();
        append(file.as_os_str(), "c\td\n").unwrap();
        let lines = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(lines, "a\tb\nc\td\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let directory = env::temp_dir();
        assert!(append(directory.as_os_str(), "a\tb\n").is_err());
    }
}
