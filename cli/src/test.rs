//! `cargo seaworthy test`: runs suites of steps and counts what passed, failed and was skipped.
//!
//! What a step needs is installed before the first step runs. A step that lacks a tool has failed:
//! a check that did not run must not look like one that passed. One case is milder. If rustup's
//! server cannot be reached for a target, the step builds the standard library itself, and where
//! that is not possible it is skipped with that reason. So is one that needs a whole machine in QEMU,
//! where that cannot be installed.

mod host;
mod kernel;
mod ktap;
mod libtest;
mod lint;
mod linux;
mod miri;
mod monitor;
mod outcome;
mod qemu_user;
mod step;

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use self::ktap::Parser as KtapParser;
use crate::test::outcome::Outcome;
use crate::test::step::{Ground, Step};
use crate::tools::{self, Install, Source, Tool};
use crate::workspace::Workspace;

/// A group of steps that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Format, clippy on the host and on arm64, documentation
    Lint,
    /// Unit, property and documentation tests on this machine
    Host,
    /// The pure crates under Miri, which finds undefined behaviour
    Miri,
    /// Tests for arm64 on an emulated processor, with and without FEAT_MOPS
    QemuUser,
    /// The monitor in QEMU: its acceptance guest on several processors, and the host's side; set
    /// SEAWORTHY_ACCESSES=1000000 for so many random accesses
    Monitor,
    /// Our kernel on the monitor: every scenario of a campaign, on several processors
    Kernel,
    /// A stock Linux on the monitor: what it makes of errors, with and without ACPI
    Linux,
}

impl Suite {
    fn steps(self, workspace: &Workspace) -> Vec<Step> {
        match self {
            Self::Lint => lint::steps(workspace),
            Self::Host => host::steps(workspace),
            Self::Miri => miri::steps(),
            Self::QemuUser => qemu_user::steps(),
            Self::Monitor => monitor::steps(),
            Self::Kernel => kernel::steps(),
            Self::Linux => linux::steps(),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The tools that each suite needs.
pub(crate) fn tools_by_suite(workspace: &Workspace) -> Vec<(Suite, Vec<Tool>)> {
    let tools = |suite: Suite| needs(suite.steps(workspace).iter());
    Suite::value_variants()
        .iter()
        .map(|&suite| (suite, tools(suite)))
        .collect()
}

fn needs<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<Tool> {
    let mut needs = Vec::new();
    for tool in steps.flat_map(|step| &step.needs) {
        if !needs.contains(tool) {
            needs.push(tool.clone());
        }
    }
    needs
}

/// Runs the suites, all if none is named. The last line printed is the count.
///
/// # Errors
///
/// If something is missing that may not be installed. Then nothing has run.
pub(crate) fn run(suites: &[Suite], workspace: &Workspace, install: Install) -> Result<ExitCode> {
    let suites = if suites.is_empty() {
        Suite::value_variants()
    } else {
        suites
    };
    let plan: Vec<(Suite, Vec<Step>)> = suites
        .iter()
        .map(|&suite| (suite, suite.steps(workspace)))
        .collect();
    let needs = needs(plan.iter().flat_map(|(_, steps)| steps));
    let ground = Ground {
        toolbox: tools::provide(&needs, workspace, install)?,
        source: Source::find(&workspace.compiler),
        workspace,
    };
    let total: usize = plan.iter().map(|(_, steps)| steps.len()).sum();
    let mut number = 0;
    let mut reports = Vec::new();
    for (suite, steps) in &plan {
        let mut report = Report::new(*suite);
        for step in steps {
            number += 1;
            println!("\n[{number}/{total}] {suite}: {}", step.name);
            report.add(step, &ground);
        }
        reports.push(report);
    }
    print!("\n{}", summary(&reports));
    let has_failed = reports
        .iter()
        .any(|report| !report.outcome.failed.is_empty());
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What became of a suite.
struct Report {
    suite: Suite,
    outcome: Outcome,
    elapsed: Duration,
}

impl Report {
    fn new(suite: Suite) -> Self {
        Self {
            suite,
            outcome: Outcome::default(),
            elapsed: Duration::ZERO,
        }
    }

    fn add(&mut self, step: &Step, ground: &Ground<'_>) {
        let start = Instant::now();
        let outcome = step.run(ground);
        let elapsed = start.elapsed();
        println!(
            "{}: {} in {:.1} s",
            step.name,
            outcome.counts(),
            elapsed.as_secs_f64()
        );
        self.elapsed += elapsed;
        self.outcome.add(&step.name, outcome);
    }
}

/// A table, what failed, what was skipped and why, and the closing line.
fn summary(reports: &[Report]) -> String {
    let mut text = format!(
        "{:10} {:>7} {:>7} {:>8} {:>8}\n",
        "suite", "passed", "failed", "skipped", "seconds"
    );
    let mut total = Outcome::default();
    for Report {
        suite,
        outcome,
        elapsed,
    } in reports
    {
        text += &format!(
            "{:10} {:>7} {:>7} {:>8} {:>8.1}\n",
            suite.to_string(),
            outcome.passed,
            outcome.failed.len(),
            outcome.skipped.len(),
            elapsed.as_secs_f64(),
        );
        total.add(&suite.to_string(), outcome.clone());
    }
    if !total.failed.is_empty() {
        text += "\nFailed:\n";
        total
            .failed
            .iter()
            .for_each(|failure| text += &format!("  {failure}\n"));
    }
    if !total.skipped.is_empty() {
        text += "\nSkipped:\n";
        total
            .skipped
            .iter()
            .for_each(|skip| text += &format!("  {skip}\n"));
    }
    text + &format!("\n{}\n", total.counts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::outcome::Skip;

    fn report(suite: Suite, outcome: Outcome) -> Report {
        Report {
            suite,
            outcome,
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn summary_names_failures_and_skips_and_ends_with_the_count() {
        let mut lint = Outcome::default();
        lint.add("format", Outcome::pass());
        lint.add("clippy", Outcome::fail("error: unused"));
        let mut host = Outcome {
            passed: 3,
            ..Outcome::default()
        };
        host.add(
            "tests",
            Outcome::skip(Skip::new("copy::mops", "no FEAT_MOPS")),
        );
        let text = summary(&[report(Suite::Lint, lint), report(Suite::QemuUser, host)]);
        assert_eq!(
            text,
            "suite       passed  failed  skipped  seconds\n\
             lint             1       1        0      1.5\n\
             qemu-user        3       0        1      1.5\n\
             \n\
             Failed:\n  lint: clippy: error: unused\n\
             \n\
             Skipped:\n  qemu-user: tests: copy::mops: no FEAT_MOPS\n\
             \n\
             4 passed, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn every_suite_has_steps_and_names_what_they_need_once() {
        let workspace = Workspace::find().unwrap();
        for (suite, tools) in tools_by_suite(&workspace) {
            assert!(!suite.steps(&workspace).is_empty(), "{suite}");
            for (index, tool) in tools.iter().enumerate() {
                assert!(!tools[..index].contains(tool), "{suite} needs {tool} twice");
            }
        }
    }
}
