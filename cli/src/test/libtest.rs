//! Reads the output of `cargo test`, line by line, while it comes.
//!
//! The summary line of each test program is authoritative. The lines of single tests give names
//! and reasons; a test that prints past libtest's capture can garble them. They count only for a
//! program that ended before its summary.

use crate::test::outcome::{Outcome, Skip};

/// What the output said.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) outcome: Outcome,
    /// How many test programs started; a library's documentation tests are one more.
    pub(crate) programs: usize,
    /// How the last program ended, if not with a summary.
    pub(crate) unfinished: Option<String>,
    /// Tests that libtest reported as slow and that had not ended when the output did.
    pub(crate) slow: Vec<String>,
}

/// Collects [`Results`].
#[derive(Debug, Default)]
pub(crate) struct Parser {
    outcome: Outcome,
    programs: usize,
    slow: Vec<String>,
    /// Put before the names of tests.
    prefix: String,
    current: Option<Program>,
}

/// A test program that has not printed its summary.
#[derive(Debug, Default)]
struct Program {
    announced: usize,
    passed: usize,
    failed: Vec<String>,
    ignored: Vec<Skip>,
    /// The names under the last heading `failures:`. It comes twice, first with what tests printed.
    listed: Vec<String>,
}

impl Parser {
    /// Takes the next line of output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colours(line);
        if let Some(prefix) = prefix(&line) {
            self.break_off_before_next();
            self.prefix = prefix;
        } else if let Some(announced) = announced(&line) {
            self.break_off_before_next();
            self.programs += 1;
            self.current = Some(Program {
                announced,
                ..Program::default()
            });
        } else if let Some(summary) = line.strip_prefix("test result: ") {
            self.summary(summary);
        } else if let Some(test) = line.strip_prefix("test ") {
            self.test(test);
        } else if let Some(program) = &mut self.current {
            if line == "failures:" {
                program.listed.clear();
            } else if let Some(name) = line.strip_prefix("    ") {
                program.listed.push(format!("{}{name}", self.prefix));
            }
        }
    }

    /// Ends the output.
    pub(crate) fn finish(mut self) -> Results {
        let unfinished = self.break_off();
        let Self {
            outcome,
            programs,
            slow,
            ..
        } = self;
        Results {
            outcome,
            programs,
            unfinished,
            slow,
        }
    }

    fn break_off_before_next(&mut self) {
        let end = self.break_off();
        self.outcome.failed.extend(end);
    }

    /// `NAME ... ok`, or another verdict.
    fn test(&mut self, test: &str) {
        let Some(program) = &mut self.current else {
            return;
        };
        if let Some((name, _)) = test.split_once(" has been running for over ") {
            self.slow.push(format!("{}{name}", self.prefix));
            return;
        }
        let Some((name, verdict)) = test.split_once(" ... ") else {
            return;
        };
        // `tests::overflow - should panic`, but not `src/lib.rs - copy (line 7)`.
        let name = format!(
            "{}{}",
            self.prefix,
            name.trim_end().trim_end_matches(" - should panic")
        );
        self.slow.retain(|slow| *slow != name);
        match verdict.split_once(", ").unwrap_or((verdict, "")) {
            ("ok", _) => program.passed += 1,
            ("FAILED", _) => program.failed.push(name),
            ("ignored", "") => program
                .ignored
                .push(Skip::new(name, "ignored without a reason")),
            ("ignored", reason) => program.ignored.push(Skip::new(name, reason)),
            _ => {}
        }
    }

    /// What follows `test result: `.
    fn summary(&mut self, summary: &str) {
        let Some([passed, failed, ignored, measured]) = counts(summary) else {
            return;
        };
        let sum = passed + failed + ignored + measured;
        // A summary that does not fit is what a failed test had printed.
        let Some(mut program) = self.current.take_if(|program| program.announced == sum) else {
            return;
        };
        if program.listed.len() == failed {
            program.failed = program.listed;
        }
        let unnamed = || format!("{}(name garbled, see the output)", self.prefix);
        program.failed.resize_with(failed, unnamed);
        program
            .ignored
            .resize_with(ignored, || Skip::new(unnamed(), "ignored"));
        self.outcome.passed += passed;
        self.outcome.failed.extend(program.failed);
        self.outcome.skipped.extend(program.ignored);
    }

    /// Counts what is known of a program that ended before its summary, and describes its end.
    fn break_off(&mut self) -> Option<String> {
        let program = self.current.take()?;
        let seen = program.passed + program.failed.len() + program.ignored.len();
        self.outcome.passed += program.passed;
        self.outcome.failed.extend(program.failed);
        self.outcome.skipped.extend(program.ignored);
        let name = self.prefix.trim_end_matches([':', ' ']);
        Some(format!(
            "{name} ended after {seen} of {} tests",
            program.announced
        ))
    }
}

/// What to put before the names of the tests of the program that this line announces.
fn prefix(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{library}: "));
    }
    // `Running unittests src/lib.rs (target/debug/deps/copy-6581cb5e6ffff415)`
    let (_, path) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once('(')?;
    let file = path.rsplit('/').next()?;
    let (name, _hash) = file.rsplit_once('-')?;
    Some(format!("{name}::"))
}

/// `running 3 tests`
fn announced(line: &str) -> Option<usize> {
    let count = line.strip_prefix("running ")?;
    count
        .strip_suffix(" tests")
        .or_else(|| count.strip_suffix(" test"))?
        .parse()
        .ok()
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
fn counts(summary: &str) -> Option<[usize; 4]> {
    let (_, counts) = summary.split_once(". ")?;
    let mut counts = counts.split("; ");
    let mut next = |label| counts.next()?.strip_suffix(label)?.parse().ok();
    Some([
        next(" passed")?,
        next(" failed")?,
        next(" ignored")?,
        next(" measured")?,
    ])
}

/// The line without the escape sequences that colour it on a terminal.
pub(super) fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| character.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(output: &str) -> Results {
        let mut parser = Parser::default();
        output.lines().for_each(|line| parser.line(line));
        parser.finish()
    }

    const PASSED: &str = "
     Running unittests src/lib.rs (target/debug/deps/copy-6581cb5e6ffff415)

running 3 tests
test tests::b                ... ignored, why not
test tests::a ... ok
test tests::c - should panic ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.07s

   Doc-tests copy

running 2 tests
test src/lib.rs - f (line 10) ... ignored
test src/lib.rs - f (line 7) ... ok

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn programs_add_up() {
        let results = parse(PASSED);
        let skipped = vec![
            Skip::new("copy::tests::b", "why not"),
            Skip::new("copy: src/lib.rs - f (line 10)", "ignored without a reason"),
        ];
        assert_eq!(
            results.outcome,
            Outcome {
                passed: 3,
                failed: Vec::new(),
                skipped
            }
        );
        assert_eq!(results.programs, 2);
        assert_eq!(results.unfinished, None);
    }

    const FAILED: &str = "
     Running tests/faults.rs (target/aarch64-unknown-linux-musl/debug/deps/faults-65)

running 3 tests
test a ... ok
test b ... noise past the capture
test c - should panic ... FAILED
FAILED

failures:

---- b stdout ----
failures:
    not a test
running 1 test
test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.07s
---- c stdout ----
note: test did not panic as expected

failures:
    b
    c

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.07s
";

    #[test]
    fn failed_tests_are_named_whatever_they_print() {
        let results = parse(&FAILED.replace("running 1 test\n", ""));
        assert_eq!(results.outcome.passed, 1);
        assert_eq!(results.outcome.failed, ["faults::b", "faults::c"]);
        assert_eq!(results.unfinished, None);
    }

    #[test]
    fn a_forged_program_does_not_hide_a_failure() {
        assert!(!parse(FAILED).outcome.failed.is_empty());
    }

    #[test]
    fn a_name_that_got_lost_is_still_a_failure() {
        let results = parse(
            "running 1 test\ntest a ... noise\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; \
             0 measured; 0 filtered out; finished in 0.07s",
        );
        assert_eq!(results.outcome.failed, ["(name garbled, see the output)"]);
    }

    const CRASHED: &str = "
     Running unittests src/lib.rs (target/debug/deps/copy-65)
running 3 tests
test a ... ok
test b ... FAILED
error: test failed, to rerun pass `-p copy --lib`
";

    #[test]
    fn a_crash_keeps_what_was_known() {
        let results = parse(CRASHED);
        assert_eq!(results.outcome.passed, 1);
        assert_eq!(results.outcome.failed, ["copy::b"]);
        assert_eq!(
            results.unfinished.as_deref(),
            Some("copy ended after 2 of 3 tests")
        );
    }

    #[test]
    fn a_crash_before_another_program_is_a_failure() {
        let results = parse(&format!("{CRASHED}{PASSED}"));
        assert_eq!(results.outcome.passed, 4);
        assert_eq!(
            results.outcome.failed,
            ["copy::b", "copy ended after 2 of 3 tests"]
        );
        assert_eq!(results.unfinished, None);
    }

    #[test]
    fn slow_tests_are_remembered_until_they_end() {
        let results = parse(
            "running 2 tests\n\
             test a has been running for over 60 seconds\n\
             test b has been running for over 60 seconds\n\
             test a ... ok\n",
        );
        assert_eq!(results.slow, ["b"]);
    }

    #[test]
    fn other_output_is_no_test() {
        let results = parse("test result: nonsense\ntest \nrunning away\nRunning x\nfailures:\n");
        assert_eq!(results.outcome, Outcome::default());
        assert_eq!(results.programs, 0);
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(
            without_colours("\u{1b}[1m\u{1b}[91merror\u{1b}[0m: x"),
            "error: x"
        );
        assert_eq!(without_colours("plain [1m"), "plain [1m");
        assert_eq!(without_colours("cut \u{1b}[1"), "cut ");
    }
}
