//! What a case is, and what it checks with.

use core::fmt;

use apei::GenericSourceV2;
use guest::{Parameters, Random};

use crate::machine::firmware::{self, Firmware, Report};
use crate::machine::uart::println;

/// How many failures of a case are told.
const TOLD: u64 = 20;

/// A case: one line of the result.
pub(crate) struct Case {
    /// What the command line selects it by.
    pub(crate) group: &'static str,
    /// What it shows.
    pub(crate) name: &'static str,
    /// Whether it makes no sense without the monitor.
    pub(crate) needs_monitor: bool,
    /// The checks.
    pub(crate) run: fn(&mut Context) -> Verdict,
}

/// Whether a case could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ran; the context knows how it went.
    Done,
    /// It cannot run here.
    Skip(&'static str),
}

/// What a case has.
pub(crate) struct Context {
    /// Random numbers.
    pub(crate) random: Random,
    /// Firmware's tables, if there is a monitor.
    pub(crate) firmware: Option<Firmware>,
    /// The end of RAM as the device tree has it: what follows is the monitor's.
    pub(crate) ram_end: u64,
    /// How many random accesses to make.
    pub(crate) count: u64,
    /// The seed of the run.
    pub(crate) seed: u64,
    /// Whether to tell more than the results.
    pub(crate) verbose: bool,
    /// How much has been checked.
    pub(crate) checks: u64,
    /// How much of that was wrong.
    pub(crate) failures: u64,
}

impl Context {
    /// A context for a run.
    pub(crate) fn new(parameters: &Parameters<'_>, ram_end: u64) -> Self {
        Self {
            random: Random::new(parameters.seed),
            firmware: None,
            ram_end,
            count: parameters.count,
            seed: parameters.seed,
            verbose: parameters.verbose,
            checks: 0,
            failures: 0,
        }
    }

    /// Starts a case.
    pub(crate) fn begin(&mut self, random: Random) {
        self.random = random;
        self.checks = 0;
        self.failures = 0;
    }

    /// Checks that something holds.
    pub(crate) fn holds(&mut self, holds: bool, what: fmt::Arguments<'_>) {
        self.checks += 1;
        if !holds {
            self.fail(what);
        }
    }

    /// Checks that something has the value it must have.
    pub(crate) fn equal<T: PartialEq + fmt::Debug>(
        &mut self,
        what: fmt::Arguments<'_>,
        got: T,
        expected: T,
    ) {
        self.checks += 1;
        if got != expected {
            self.fail(format_args!(
                "{what}: got {got:#x?}, expected {expected:#x?}"
            ));
        }
    }

    /// Counts a failure, and tells it.
    pub(crate) fn fail(&mut self, what: fmt::Arguments<'_>) {
        self.failures += 1;
        if self.failures <= TOLD {
            println!("# failed: {what}");
        }
        if self.failures == TOLD {
            println!("# further failures of this case are only counted");
        }
    }

    /// Takes what the source of aborts reports.
    pub(crate) fn claim(&mut self) -> Option<Report> {
        let source = self.firmware?.aborts;
        self.claim_from(&source)
    }

    /// Takes what a source reports.
    pub(crate) fn claim_from(&mut self, source: &GenericSourceV2) -> Option<Report> {
        match firmware::claim(source) {
            Ok(report) => report,
            Err(what) => {
                self.fail(format_args!("{what}"));
                None
            }
        }
    }
}
