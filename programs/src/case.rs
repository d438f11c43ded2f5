//! The cases of a campaign: a scenario, a line of a page, what must come of it, and the judgement.
//!
//! Expectations are written down once, here, for the program that runs in the guest and for the
//! host that watches it.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::signal::{ACTION_OPTIONAL, ACTION_REQUIRED, OBJECT_ERROR};

/// Lines of 64 bytes in a page.
pub const LINES: u32 = 64;

/// Routines of our kernel that can be given a wild pointer.
const WILD_ROUTINES: u32 = 8;

/// `si_addr_lsb` of one page of 4 KiB.
const ONE_PAGE: i16 = 12;

/// A way in which a system meets poison, or something that must not be taken for it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// A program loads from anonymous memory
    Load,
    /// A program fetches an instruction from anonymous memory
    Fetch,
    /// A program fetches an instruction from a page of a file on disk, which is clean
    FetchDisk,
    /// write(2) from a buffer
    Copyin,
    /// read(2) of a page that only the page cache has (tmpfs)
    ReadTmpfs,
    /// read(2) of a page that is on disk too
    ReadDisk,
    /// FUTEX_WAIT on a word
    Futex,
    /// A store to an anonymous page that two processes share since a fork
    CopyOnWrite,
    /// The first store to a private mapping of a page that only the page cache has
    PrivateFile,
    /// The first store to a private mapping of a page that is on disk too
    PrivateDisk,
    /// A core dump of a process that has such a page
    CoreDump,
    /// Another process meets the error in shared memory; this one has asked to be told early
    EarlyKill,
    /// A patrol scrub finds the error; the process has asked to be told early
    Patrol,
    /// A program loads, and firmware does not explain the abort
    Unclaimed,
    /// A program loads, and the abort does not say where (FnV)
    LoadNoAddress,
    /// A program loads, and firmware's record does not say where
    LoadBareRecord,
    /// A program loads, and firmware's record is of a processor's cache
    LoadProcessorRecord,
    /// write(2) from a buffer, and the abort does not say where (FnV)
    CopyinNoAddress,
    /// The kernel reads a program's memory with interrupts masked
    CopyinMasked,
    /// Two CPUs write(2) from the same line at the same time
    TwoCpus,
    /// A program's translation table fails, and the CPU walks it; `line` is the table's
    TableWalk,
    /// A program loads, and an SError says that it can go on
    SerrorRestartable,
    /// A program loads, and an SError says that it cannot go on
    SerrorRecoverable,
    /// A program loads, and an SError says that nobody knows how far the error went
    SerrorUncontainable,
    /// write(2) from a buffer, and an SError says that the kernel cannot go on
    CopyinSerror,
    /// madvise(MADV_HWPOISON) gives a page up, then a program loads from it
    HardOffline,
    /// madvise(MADV_SOFT_OFFLINE) gives a page up and keeps its bytes
    SoftOffline,
    /// The kernel follows a null pointer, which is a bug and not an error of memory
    NullPointer,
    /// An mc-safe routine of the kernel is given a wild pointer; `line` counts through the routines
    WildPointer,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As if memory were good.
    Complete,
    /// A system call did a part.
    Short,
    /// A system call failed.
    Error,
    /// A SIGBUS that a handler saw.
    Signal,
    /// The process died.
    Killed,
    /// The kernel died.
    Panic,
    /// Nothing more was heard.
    Hang,
    /// The case could not be done as it should.
    Failed,
    /// This system has not what the case needs.
    Skipped,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What became of it.
    pub outcome: Outcome,
    /// The signal that came.
    pub signal: Option<i32>,
    /// Its `si_code`.
    pub si_code: Option<i32>,
    /// Whether its `si_addr` is in the page that failed.
    pub si_addr_ok: Option<bool>,
    /// Its `si_addr_lsb`.
    pub si_addr_lsb: Option<i16>,
    /// The error of the system call.
    pub errno: Option<i32>,
    /// How many bytes the system call did.
    pub bytes: Option<u64>,
    /// Whether the kernel has given the failing page up; unknown if it does not say.
    pub isolated: Option<bool>,
    /// Whether bytes that nobody has lost are wrong.
    pub corrupted: bool,
    /// From the access until the process went on.
    pub micros: u64,
    /// What else there is to say.
    pub detail: Option<String>,
}

/// What kind of kernel is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Survives errors that it meets itself.
    Survives,
    /// Ours with `recover=off`: panics at them.
    Panics,
    /// Linux on arm64, with `oops=panic`: panics at them, and needs firmware to tell an error of
    /// memory from any other abort.
    Linux,
}

/// What must be seen. What is `None` does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    outcome: Outcome,
    si_code: Option<i32>,
    si_addr_lsb: Option<i16>,
    errno: Option<i32>,
    bytes: Option<u64>,
    isolated: Option<bool>,
    /// A signal need not say where.
    any_address: bool,
}

impl Scenario {
    /// The lines with which it can be done, if these are asked for. What is not about a page has
    /// its own: a null pointer one, wild pointers one for each routine. What kills the kernel without a
    /// word of where is done with the first.
    #[must_use]
    pub fn lines(self, wanted: &[u32]) -> Vec<u32> {
        match self {
            Self::NullPointer => vec![0],
            Self::WildPointer => (0..WILD_ROUTINES).collect(),
            // The CPU says no more than that it happened.
            Self::SerrorUncontainable | Self::CopyinSerror => wanted[..wanted.len().min(1)].into(),
            _ => wanted.to_vec(),
        }
    }

    /// Its name on command lines and in results.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What must come of it when `line` fails.
    #[must_use]
    pub fn expected(self, line: u32, kernel: Kernel) -> Expected {
        let survives = kernel == Kernel::Survives;
        match self {
            Self::Load | Self::Fetch | Self::HardOffline => Expected::signal(ACTION_REQUIRED),
            Self::EarlyKill | Self::Patrol => Expected::signal(ACTION_OPTIONAL),
            Self::FetchDisk | Self::SoftOffline => Expected::complete(),
            Self::Unclaimed if kernel != Kernel::Linux => Expected::signal(ACTION_REQUIRED),
            Self::Unclaimed => Expected {
                si_addr_lsb: None,
                isolated: Some(false),
                ..Expected::signal(OBJECT_ERROR)
            },
            // Linux looks at nothing but the record.
            Self::LoadBareRecord if kernel == Kernel::Linux => Expected {
                isolated: Some(false),
                any_address: true,
                ..Expected::only(Outcome::Signal)
            },
            Self::LoadNoAddress | Self::LoadBareRecord | Self::LoadProcessorRecord => {
                Expected::signal(ACTION_REQUIRED)
            }
            // Linux does not take records by this notification.
            Self::SerrorRestartable => Expected {
                isolated: (kernel != Kernel::Linux).then_some(true),
                ..Expected::complete()
            },
            Self::SerrorRecoverable if kernel != Kernel::Linux => Expected::signal(ACTION_REQUIRED),
            Self::NullPointer
            | Self::WildPointer
            | Self::SerrorRecoverable
            | Self::SerrorUncontainable
            | Self::CopyinSerror => Expected::panic(),
            // Linux kills the program too, and then reads the table.
            Self::TableWalk if kernel == Kernel::Linux => Expected::panic(),
            Self::TableWalk => Expected::isolated(Outcome::Killed),
            _ if !survives => Expected::panic(),
            Self::Copyin | Self::CopyinNoAddress => Expected::up_to(line, libc::EFAULT),
            Self::CopyinMasked | Self::TwoCpus => Expected::error(libc::EFAULT),
            Self::ReadTmpfs => Expected::up_to(line, libc::EIO),
            Self::Futex => Expected::error(libc::EFAULT),
            Self::CopyOnWrite | Self::PrivateFile => Expected::signal(ACTION_REQUIRED),
            Self::ReadDisk | Self::PrivateDisk | Self::CoreDump => Expected::complete(),
        }
    }
}

impl Expected {
    const fn only(outcome: Outcome) -> Self {
        Self {
            outcome,
            si_code: None,
            si_addr_lsb: None,
            errno: None,
            bytes: None,
            isolated: None,
            any_address: false,
        }
    }

    fn isolated(outcome: Outcome) -> Self {
        Self {
            isolated: Some(true),
            ..Self::only(outcome)
        }
    }

    fn complete() -> Self {
        Self::isolated(Outcome::Complete)
    }

    fn panic() -> Self {
        Self::only(Outcome::Panic)
    }

    fn signal(code: i32) -> Self {
        Self {
            si_code: Some(code),
            si_addr_lsb: Some(ONE_PAGE),
            ..Self::isolated(Outcome::Signal)
        }
    }

    fn error(errno: i32) -> Self {
        Self {
            errno: Some(errno),
            ..Self::isolated(Outcome::Error)
        }
    }

    /// All bytes of the page before the line; the error if there are none.
    fn up_to(line: u32, errno: i32) -> Self {
        match line {
            0 => Self::error(errno),
            line => Self {
                bytes: Some(u64::from(line) * 64),
                ..Self::isolated(Outcome::Short)
            },
        }
    }

    /// Whether the kernel must die.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.outcome == Outcome::Panic
    }

    /// Whether that is what was seen, and no byte was corrupted.
    #[must_use]
    pub fn is_met_by(&self, seen: &Observation) -> bool {
        fn agrees<T: PartialEq>(wanted: Option<T>, seen: Option<T>) -> bool {
            wanted.is_none() || wanted == seen
        }
        self.outcome == seen.outcome
            && agrees(self.si_code, seen.si_code)
            && agrees(self.si_addr_lsb, seen.si_addr_lsb)
            && agrees(self.errno, seen.errno)
            && agrees(self.bytes, seen.bytes)
            && agrees(self.isolated, seen.isolated)
            && (self.any_address || seen.si_addr_ok != Some(false))
            && !seen.corrupted
    }
}

impl Observation {
    /// Nothing but this outcome.
    #[must_use]
    pub fn only(outcome: Outcome) -> Self {
        Self {
            outcome,
            signal: None,
            si_code: None,
            si_addr_ok: None,
            si_addr_lsb: None,
            errno: None,
            bytes: None,
            isolated: None,
            corrupted: false,
            micros: 0,
            detail: None,
        }
    }

    /// The same with something to say.
    #[must_use]
    pub fn with_detail(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::only(outcome)
        }
    }
}

/// As names and numbers: `signal code 4 lsb 12 isolated`.
macro_rules! describe {
    ($value:ident, $formatter:ident) => {{
        let outcome = serde_json::to_value($value.outcome).map_err(|_| fmt::Error)?;
        $formatter.write_str(outcome.as_str().unwrap_or_default())?;
        if let Some(code) = $value.si_code {
            write!($formatter, " code {code}")?;
        }
        if let Some(lsb) = $value.si_addr_lsb {
            write!($formatter, " lsb {lsb}")?;
        }
        if let Some(errno) = $value.errno {
            write!($formatter, " errno {errno}")?;
        }
        if let Some(bytes) = $value.bytes {
            write!($formatter, " bytes {bytes}")?;
        }
        match $value.isolated {
            Some(true) => $formatter.write_str(" isolated")?,
            Some(false) => $formatter.write_str(" not-isolated")?,
            None => {}
        }
    }};
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe!(self, formatter);
        Ok(())
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe!(self, formatter);
        if self.si_addr_ok == Some(false) {
            formatter.write_str(" wrong-address")?;
        }
        if self.corrupted {
            formatter.write_str(" CORRUPTED")?;
        }
        if let Some(detail) = &self.detail {
            write!(formatter, " ({detail})")?;
        }
        Ok(())
    }
}

/// Reads lines: `all`, or numbers and ranges such as `0,5,60-63`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse_lines(text: &str) -> Result<Vec<u32>, String> {
    if text == "all" {
        return Ok((0..LINES).collect());
    }
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|&line| line < LINES)
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a line: take all, or numbers from 0 to 63 such as 0,5,60-63"
                )
            })
    };
    let mut lines = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        lines.extend(number(first)?..=number(last)?);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbers_and_ranges() {
        assert_eq!(parse_lines("0,5,62-63"), Ok(vec![0, 5, 62, 63]));
        assert_eq!(parse_lines("all").map(|lines| lines.len()), Ok(64));
        for bad in ["", "64", "-1", "1-", "0-64", "a"] {
            assert!(parse_lines(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_part_of_an_expectation_counts() {
        let expected = Scenario::Copyin.expected(3, Kernel::Survives);
        let seen = Observation {
            bytes: Some(192),
            isolated: Some(true),
            ..Observation::only(Outcome::Short)
        };
        assert!(expected.is_met_by(&seen));
        assert_eq!(expected.to_string(), "short bytes 192 isolated");
        let wrong = [
            Observation {
                bytes: Some(128),
                ..seen.clone()
            },
            Observation {
                isolated: Some(false),
                ..seen.clone()
            },
            Observation {
                isolated: None,
                ..seen.clone()
            },
            Observation {
                corrupted: true,
                ..seen.clone()
            },
            Observation {
                outcome: Outcome::Complete,
                ..seen.clone()
            },
            Observation {
                si_addr_ok: Some(false),
                ..seen.clone()
            },
        ];
        for wrong in wrong {
            assert!(!expected.is_met_by(&wrong), "{wrong}");
        }
    }

    #[test]
    fn a_kernel_that_panics_does_so_where_it_meets_the_error_itself() {
        for scenario in Scenario::value_variants() {
            let on = scenario.expected(1, Kernel::Survives);
            let off = scenario.expected(1, Kernel::Panics);
            let is_bug = matches!(scenario, Scenario::NullPointer | Scenario::WildPointer);
            let is_lost = matches!(
                scenario,
                Scenario::SerrorUncontainable | Scenario::CopyinSerror
            );
            assert_eq!(on.is_panic(), is_bug || is_lost);
            assert!(off.is_panic() || off == on || *scenario == Scenario::Unclaimed);
        }
    }

    #[test]
    fn observations_survive_being_printed() {
        let seen = Observation {
            signal: Some(7),
            si_code: Some(4),
            ..Observation::with_detail(Outcome::Signal, "x")
        };
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), seen);
        let name = serde_json::to_value(Scenario::CopyOnWrite).unwrap();
        assert_eq!(name, Scenario::CopyOnWrite.name());
    }
}
