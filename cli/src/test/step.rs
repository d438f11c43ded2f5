//! One command of a suite: whether and how it can run here, running it, counting.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io, process};

use crate::command::{Command, End};
use crate::test::ktap;
use crate::test::libtest::{Parser, without_colours};
use crate::test::outcome::{Outcome, Skip};
use crate::tools::{Lack, Source, Tool, Toolbox};
use crate::workspace::Workspace;

/// How the output of a command is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The command is one check, which passes if it exits with 0.
    Check,
    /// The command is cargo, and runs tests, each of which counts.
    Tests,
    /// The command prints the results of tests as KTAP.
    Ktap,
}

/// A command of a suite, with all that is known about it beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// What must be installed.
    pub(crate) needs: Vec<Tool>,
    command: Command,
    kind: Kind,
    /// The crates of the standard library that the command uses, if it can build them itself.
    library: Option<&'static str>,
    limit: Duration,
}

/// What steps run on.
pub(crate) struct Ground<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) toolbox: Toolbox,
    /// The standard library's source, for when a target cannot be had.
    pub(crate) source: Option<Source>,
}

impl Step {
    /// A step that passes or fails as a whole.
    pub(crate) fn check(name: impl Into<String>, command: Command, limit: Duration) -> Self {
        Self {
            name: name.into(),
            needs: Vec::new(),
            command,
            kind: Kind::Check,
            library: None,
            limit,
        }
    }

    /// A step whose command is `cargo test` or `cargo miri test`.
    pub(crate) fn tests(name: impl Into<String>, command: Command, limit: Duration) -> Self {
        // Every test is to be counted, also after one that failed.
        let command = command.arg("--no-fail-fast");
        Self {
            kind: Kind::Tests,
            ..Self::check(name, command, limit)
        }
    }

    /// A step whose command prints KTAP. Without its QEMU it is skipped.
    pub(crate) fn ktap(name: impl Into<String>, command: Command, limit: Duration) -> Self {
        Self {
            kind: Kind::Ktap,
            ..Self::check(name, command, limit)
        }
    }

    pub(crate) fn needing(mut self, tool: Tool) -> Self {
        self.needs.push(tool);
        self
    }

    /// Without its target, the step can build these crates of the standard library itself.
    pub(crate) fn or_building(mut self, library: &'static str) -> Self {
        self.library = Some(library);
        self
    }

    /// Runs the step, if it can run here, and passes its output on.
    pub(crate) fn run(&self, ground: &Ground<'_>) -> Outcome {
        let command = match self.command_on(ground) {
            Ok(command) => command.directory(&ground.workspace.root),
            Err(outcome) => return outcome,
        };
        println!("$ {command}");
        match self.kind {
            Kind::Check => self.run_check(&command),
            Kind::Tests => self.run_tests(&command, &ground.workspace.target_directory),
            Kind::Ktap => self.run_ktap(&command),
        }
    }

    /// The command to run here, or what is to be counted instead.
    fn command_on(&self, ground: &Ground<'_>) -> Result<Command, Outcome> {
        let mut command = self.command.clone();
        for tool in &self.needs {
            match (ground.toolbox.lack_of(tool), tool) {
                (None, _) => {}
                (Some(Lack::Unreachable(reason)), Tool::Target(_)) => {
                    let reason = format!("needs {tool}: {reason}");
                    command = self.without_target(command, ground, reason)?;
                }
                // A whole machine is much to ask for; the other suites do without.
                (Some(lack), Tool::Qemu(_) | Tool::File(_)) if self.kind == Kind::Ktap => {
                    return Err(skip(format!("needs {tool}: {lack}")));
                }
                (Some(Lack::Unreachable(reason) | Lack::Failed(reason)), _) => {
                    println!("needs {tool}: {reason}");
                    return Err(Outcome::fail(format!("needs {tool}: {reason}")));
                }
            }
        }
        Ok(command)
    }

    /// The command if it builds the standard library itself; a skip if it cannot.
    fn without_target(
        &self,
        command: Command,
        ground: &Ground<'_>,
        reason: String,
    ) -> Result<Command, Outcome> {
        match (self.library, &ground.source) {
            (Some(library), Some(source)) => {
                println!("{reason}\nBuilding {library} from source instead.");
                Ok(source.applied_to(command, library))
            }
            (Some(_), None) => {
                let [toolchain, debian] = Source::places(&ground.workspace.compiler);
                Err(skip(format!(
                    "{reason}; the source to build it from is neither in {} nor in {} (Debian's \
                     package rust-src, if of this version)",
                    toolchain.display(),
                    debian.display()
                )))
            }
            // A program also needs the C library's start files, which come with the target only.
            (None, _) => Err(skip(reason)),
        }
    }

    fn run_check(&self, command: &Command) -> Outcome {
        let mut last_error = None;
        let end = command.stream(self.limit, |line| {
            println!("{line}");
            note_error(line, &mut last_error);
        });
        match self.failure(end, last_error) {
            Some(reason) => Outcome::fail(reason),
            None => Outcome::pass(),
        }
    }

    fn run_tests(&self, command: &Command, target_directory: &Path) -> Outcome {
        let skips = match SkipsFile::create(target_directory) {
            Ok(skips) => skips,
            Err(error) => return Outcome::fail(format!("cannot make a file for skips: {error}")),
        };
        let command = command
            .clone()
            .env(testing::SKIPS, skips.path.to_string_lossy());
        let (mut parser, mut last_error) = (Parser::default(), None);
        let end = command.stream(self.limit, |line| {
            println!("{line}");
            parser.line(line);
            note_error(line, &mut last_error);
        });
        let results = parser.finish();
        let mut outcome = results.outcome;
        if let Ok(End::TimedOut) = end {
            let slow = (!results.slow.is_empty()).then(|| results.slow.join(" and "));
            let place = slow
                .or(results.unfinished)
                .unwrap_or_else(|| "before any test".to_owned());
            outcome
                .failed
                .push(format!("killed after {} s: {place}", self.limit.as_secs()));
        } else {
            outcome.failed.extend(results.unfinished);
            match self.failure(end, last_error) {
                // An exit status that follows failed tests says nothing new.
                Some(reason) if outcome.failed.is_empty() => outcome.failed.push(reason),
                None if results.programs == 0 => outcome.failed.push("ran no tests".to_owned()),
                _ => {}
            }
        }
        match skips.read() {
            Ok(skips) => take_out(&skips, &mut outcome),
            Err(error) => outcome
                .failed
                .push(format!("cannot read what was skipped: {error}")),
        }
        outcome
    }

    fn run_ktap(&self, command: &Command) -> Outcome {
        let (mut parser, mut last_error) = (ktap::Parser::default(), None);
        let end = command.stream(self.limit, |line| {
            println!("{line}");
            parser.line(line);
            note_error(line, &mut last_error);
        });
        let has_timed_out = matches!(end, Ok(End::TimedOut));
        let mut outcome = parser.finish();
        let reason = self.failure(end, last_error);
        if outcome == Outcome::fail(ktap::NO_TESTS) {
            return Outcome::fail(reason.unwrap_or_else(|| ktap::NO_TESTS.to_owned()));
        }
        // An exit status that follows failed tests says nothing new; being killed does.
        if outcome.failed.is_empty() || has_timed_out {
            outcome.failed.extend(reason);
        }
        outcome
    }

    /// Why the step as a whole failed; `None` if it did not.
    fn failure(&self, end: anyhow::Result<End>, last_error: Option<String>) -> Option<String> {
        match end {
            Ok(End::Exited(status)) if status.success() => None,
            Ok(End::Exited(status)) => Some(last_error.unwrap_or_else(|| status.to_string())),
            Ok(End::TimedOut) => Some(format!("killed after {} s", self.limit.as_secs())),
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

fn skip(reason: String) -> Outcome {
    println!("skipped: {reason}");
    Outcome::skip(Skip::new("", reason))
}

/// Remembers the last line in which cargo or a compiler says that it failed, and why.
fn note_error(line: &str, last: &mut Option<String>) {
    let line = without_colours(line);
    if line.starts_with("error") {
        *last = Some(line);
    }
}

/// The file to which tests append that they are skipped; removed with this value.
struct SkipsFile {
    path: PathBuf,
}

impl SkipsFile {
    fn create(folder: &Path) -> io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("skips-{}-{number}", process::id()));
        fs::create_dir_all(folder)?;
        fs::write(&path, "")?;
        Ok(Self { path })
    }

    /// Each test once, though a property test skips in every one of its cases.
    fn read(&self) -> io::Result<Vec<Skip>> {
        let text = fs::read_to_string(&self.path)?;
        let mut skips: Vec<Skip> = Vec::new();
        for line in text.lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            if !skips.iter().any(|skip| skip.name == name) {
                skips.push(Skip::new(name, reason));
            }
        }
        Ok(skips)
    }
}

impl Drop for SkipsFile {
    fn drop(&mut self) {
        // What is left behind is in the target directory, which `cargo clean` empties.
        let _ = fs::remove_file(&self.path);
    }
}

/// libtest counts a test that returns early as passed. One that failed later remains failed.
fn take_out(skips: &[Skip], outcome: &mut Outcome) {
    for skip in skips {
        if !outcome.failed.contains(&skip.name) {
            outcome.passed = outcome.passed.saturating_sub(1);
            outcome.skipped.push(skip.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{CLIPPY, QEMU_SYSTEM};

    /// Ample, and still an end if the code under test does not see the end of a child.
    const AMPLE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    fn ground(
        workspace: &Workspace,
        lacking: Vec<(Tool, Lack)>,
        source: Option<Source>,
    ) -> Ground<'_> {
        Ground {
            workspace,
            toolbox: Toolbox::without(lacking),
            source,
        }
    }

    fn run(step: &Step) -> Outcome {
        let workspace = Workspace::find().unwrap();
        step.run(&ground(&workspace, Vec::new(), None))
    }

    fn bare() -> Tool {
        Tool::Target("aarch64-unknown-none".to_owned())
    }

    fn unreachable() -> Lack {
        Lack::Unreachable("no server".to_owned())
    }

    fn on_bare_target() -> Step {
        let command = Command::new("cargo").arg("clippy");
        Step::check("bare", command, AMPLE)
            .needing(CLIPPY)
            .needing(bare())
            .or_building("core")
    }

    #[test]
    fn a_check_counts_as_one() {
        assert_eq!(
            run(&Step::check("x", shell("true"), AMPLE)),
            Outcome::pass()
        );
        let outcome = run(&Step::check(
            "x",
            shell("echo error: bad; echo more; false"),
            AMPLE,
        ));
        assert_eq!(outcome, Outcome::fail("error: bad"));
        let outcome = run(&Step::check("x", Command::new("no-such-program"), AMPLE));
        assert_eq!(outcome.failed.len(), 1);
    }

    #[test]
    fn a_hang_is_a_failure_that_names_what_hung() {
        let script = "echo running 2 tests; echo test a ... ok; \
                      echo test b has been running for over 60 seconds; sleep 60";
        let outcome = run(&Step::tests("x", shell(script), Duration::from_secs(1)));
        assert_eq!(outcome.passed, 1);
        let last = outcome.failed.last().unwrap();
        assert!(
            last.contains("killed after 1 s") && last.contains('b'),
            "{last}"
        );
    }

    #[test]
    fn what_does_not_build_is_one_failure() {
        let script = "echo 'error: could not compile `a`' >&2; exit 101";
        let outcome = run(&Step::tests("x", shell(script), AMPLE));
        assert_eq!(outcome, Outcome::fail("error: could not compile `a`"));
    }

    #[test]
    fn success_without_any_tests_is_a_failure() {
        assert_eq!(
            run(&Step::tests("x", shell("true"), AMPLE)),
            Outcome::fail("ran no tests")
        );
    }

    #[test]
    fn results_in_ktap_are_counted_one_by_one() {
        let script = "echo KTAP version 1; echo 1..3; echo ok 1 a; echo 'ok 2 b # SKIP why'; \
                      echo 'not ok 3 c # because'; exit 1";
        let outcome = run(&Step::ktap("x", shell(script), AMPLE));
        let expected = Outcome {
            passed: 1,
            failed: vec!["c (because)".to_owned()],
            skipped: vec![Skip::new("b", "why")],
        };
        assert_eq!(outcome, expected);
        let script = "echo KTAP version 1; echo 1..1; echo ok 1 a; echo error: later; exit 1";
        let outcome = run(&Step::ktap("x", shell(script), AMPLE));
        assert_eq!(outcome.failed, ["error: later"]);
        let outcome = run(&Step::ktap("x", shell("echo error: why; exit 1"), AMPLE));
        assert_eq!(outcome, Outcome::fail("error: why"));
        let outcome = run(&Step::ktap("x", shell("true"), AMPLE));
        assert_eq!(outcome, Outcome::fail(ktap::NO_TESTS));
        let script = "echo KTAP version 1; echo 1..2; echo ok 1 a; sleep 60";
        let outcome = run(&Step::ktap("x", shell(script), Duration::from_secs(1)));
        assert_eq!(
            outcome.failed,
            ["ended after 1 of 2 tests", "killed after 1 s"]
        );
    }

    #[test]
    fn without_its_qemu_a_machine_is_skipped_and_other_tests_fail() {
        let workspace = Workspace::find().unwrap();
        let lacking = |tool: &Tool| vec![(tool.clone(), Lack::Failed("no package".to_owned()))];
        let tool = Tool::Qemu(QEMU_SYSTEM);
        let ground = ground(&workspace, lacking(&tool), None);
        let skipped = Step::ktap("x", shell("true"), AMPLE)
            .needing(tool.clone())
            .run(&ground);
        assert_eq!((skipped.failed.len(), skipped.skipped.len()), (0, 1));
        assert!(skipped.skipped[0].reason.contains("no package"));
        let failed = Step::check("x", shell("true"), AMPLE)
            .needing(tool)
            .run(&ground);
        assert_eq!(failed.failed.len(), 1);
    }

    #[test]
    fn skips_are_no_passes() {
        let script = "echo 'running 3 tests'; \
            printf 'copy::mops\\tno MOPS\\ncopy::mops\\tno MOPS\\n' >> $SEAWORTHY_SKIPS; \
            echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";
        let outcome = run(&Step::tests("x", shell(script), AMPLE));
        let skipped = vec![Skip::new("copy::mops", "no MOPS")];
        assert_eq!(
            outcome,
            Outcome {
                passed: 2,
                failed: Vec::new(),
                skipped
            }
        );
    }

    #[test]
    fn skips_that_cannot_be_read_are_a_failure() {
        let script = "rm $SEAWORTHY_SKIPS; echo 'running 1 test'; \
            echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";
        let outcome = run(&Step::tests("x", shell(script), AMPLE));
        assert_eq!(outcome.failed.len(), 1);
    }

    #[test]
    fn a_skipped_test_that_fails_has_failed() {
        let mut outcome = Outcome {
            passed: 1,
            ..Outcome::fail("copy::mops")
        };
        take_out(&[Skip::new("copy::mops", "no MOPS")], &mut outcome);
        assert_eq!(
            outcome,
            Outcome {
                passed: 1,
                ..Outcome::fail("copy::mops")
            }
        );
    }

    #[test]
    fn with_all_tools_the_command_is_as_it_was() {
        let workspace = Workspace::find().unwrap();
        let command = on_bare_target()
            .command_on(&ground(&workspace, Vec::new(), None))
            .unwrap();
        assert_eq!(command.to_string(), "cargo clippy");
    }

    #[test]
    fn without_the_server_the_library_is_built_from_source() {
        let workspace = Workspace::find().unwrap();
        let lacking = vec![(bare(), unreachable())];
        let source = Some(Source::for_tests());
        let command = on_bare_target()
            .command_on(&ground(&workspace, lacking, source))
            .unwrap();
        assert!(
            command
                .to_string()
                .ends_with("cargo clippy -Zbuild-std=core"),
            "{command}"
        );
    }

    #[test]
    fn without_server_and_source_the_step_is_skipped_and_says_so() {
        let workspace = Workspace::find().unwrap();
        let lacking = vec![(bare(), unreachable())];
        let outcome = on_bare_target()
            .command_on(&ground(&workspace, lacking, None))
            .unwrap_err();
        let reason = &outcome.skipped[0].reason;
        assert!(
            reason.contains("no server") && reason.contains("rust-src"),
            "{reason}"
        );
        assert!(outcome.failed.is_empty());
    }

    #[test]
    fn a_component_has_no_substitute() {
        let workspace = Workspace::find().unwrap();
        let ground = ground(
            &workspace,
            vec![(CLIPPY, unreachable())],
            Some(Source::for_tests()),
        );
        let outcome = on_bare_target().command_on(&ground).unwrap_err();
        assert_eq!(outcome, Outcome::fail("needs clippy: no server"));
    }

    #[test]
    fn a_step_that_links_is_skipped_even_with_source() {
        let workspace = Workspace::find().unwrap();
        let ground = ground(
            &workspace,
            vec![(bare(), unreachable())],
            Some(Source::for_tests()),
        );
        let step = Step {
            library: None,
            ..on_bare_target()
        };
        let outcome = step.command_on(&ground).unwrap_err();
        assert!(outcome.failed.is_empty());
        assert_eq!(outcome.skipped.len(), 1);
    }

    #[test]
    fn a_failed_installation_is_a_failure_even_with_source() {
        let workspace = Workspace::find().unwrap();
        let lacking = vec![(bare(), Lack::Failed("disk full".to_owned()))];
        let ground = ground(&workspace, lacking, Some(Source::for_tests()));
        let outcome = on_bare_target().command_on(&ground).unwrap_err();
        assert_eq!(
            outcome.failed,
            ["needs Rust target aarch64-unknown-none: disk full"]
        );
    }
}
