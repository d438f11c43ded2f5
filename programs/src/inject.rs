//! Making memory fail, or be reported, in the way the user has chosen.

use std::{mem, process, ptr};

use anyhow::{Result, bail};
use clap::ValueEnum;
use control::{Command, LINE, Notice, Policy};

use crate::doorbell::Doorbell;
use crate::einj::{Einj, Kind, LINE_MASK, Trigger};
use crate::host;
use crate::output::note;

/// Who makes memory fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Firmware, asked through ACPI EINJ in debugfs
    Einj,
    /// The monitor, asked through its registers in /dev/mem
    Doorbell,
    /// The monitor, asked by the host, which reads what this program prints and types the answer
    Host,
    /// The user, who is told the address and sends SIGUSR1 when it is done
    Hand,
}

/// A [`Method`] that is there.
pub enum Injector {
    /// EINJ's files.
    Einj(Einj),
    /// The monitor's registers.
    Doorbell(Doorbell),
    /// The host has the monitor's mailbox.
    Host,
    /// Somebody reads what this program prints.
    Hand,
}

impl Method {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Makes sure that the method can be used.
    ///
    /// # Errors
    ///
    /// If it cannot; the message says what may be lacking.
    pub fn open(self) -> Result<Injector> {
        Ok(match self {
            Self::Einj => Injector::Einj(Einj::open()?),
            Self::Doorbell => Injector::Doorbell(Doorbell::open()?),
            Self::Host => Injector::Host,
            Self::Hand => Injector::Hand,
        })
    }
}

impl Injector {
    /// Makes the line at this physical address fail when it is read.
    ///
    /// # Errors
    ///
    /// If firmware, kernel or monitor refuse, or do not offer this.
    pub fn poison(&self, line: u64) -> Result<()> {
        match self {
            Self::Einj(einj) => einj.inject(Kind::Uncorrected, line, LINE_MASK, Trigger::Never),
            Self::Hand => wait_for_user(line),
            _ => self.monitor("poison", Command::Poison, line, LINE, Policy::default()),
        }
    }

    /// Makes the line fail in a particular way.
    ///
    /// # Errors
    ///
    /// If this is not the monitor, or it refuses: not every machine has every way.
    pub fn poison_so(&self, line: u64, policy: Policy) -> Result<()> {
        let what = "make memory fail in this way";
        self.monitor(what, Command::Poison, line, LINE, policy)
    }

    /// Makes the line good again, whatever it now holds.
    ///
    /// # Errors
    ///
    /// If this is not the monitor, or it refuses.
    pub fn clear(&self, line: u64) -> Result<()> {
        let what = "make a line good";
        self.monitor(what, Command::Clear, line, LINE, Policy::empty())
    }

    /// Has the monitor run a command.
    fn monitor(
        &self,
        what: &str,
        command: Command,
        address: u64,
        length: u64,
        policy: Policy,
    ) -> Result<()> {
        match self {
            Self::Doorbell(doorbell) => {
                doorbell.run(command, address, length, policy.bits())?;
                Ok(())
            }
            Self::Host => host::ask(command, address, length, policy),
            _ => bail!("only the monitor can {what}; use --by doorbell"),
        }
    }

    /// Has a corrected error at this physical address reported.
    ///
    /// # Errors
    ///
    /// If firmware, kernel or monitor refuse, or do not offer this.
    pub fn report_corrected(&self, line: u64) -> Result<()> {
        match self {
            Self::Einj(einj) => einj.inject(Kind::Corrected, line, LINE_MASK, Trigger::Now),
            Self::Doorbell(_) | Self::Host => self.notify(Notice::Corrected, line),
            Self::Hand => wait_for_user(line),
        }
    }

    /// Makes the line fail and has it reported, as if a patrol scrub had found it.
    ///
    /// # Errors
    ///
    /// If firmware, kernel or monitor refuse, or do not offer this.
    pub fn report_scrubbed(&self, line: u64) -> Result<()> {
        match self {
            Self::Einj(_) => bail!(
                "EINJ does not say whether firmware scrubs memory; use --by doorbell or --by hand"
            ),
            Self::Doorbell(_) | Self::Host => {
                self.poison(line)?;
                self.notify(Notice::PatrolScrub, line)
            }
            Self::Hand => wait_for_user(line),
        }
    }

    fn notify(&self, notice: Notice, line: u64) -> Result<()> {
        let (what, policy) = ("report an error", Policy::empty());
        self.monitor(what, Command::Notify, line, notice.raw(), policy)
    }
}

/// Tells the user the address, and waits.
fn wait_for_user(line: u64) -> Result<()> {
    // SAFETY: all bits zero is a set, which is then emptied properly.
    let mut signals: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: a valid set of this function's own.
    unsafe { libc::sigemptyset(&mut signals) };
    // SAFETY: as above; the signal's number is valid.
    unsafe { libc::sigaddset(&mut signals, libc::SIGUSR1) };
    // Blocked before the user hears of it: a signal that comes early waits.
    // SAFETY: the set is valid; the former mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &signals, ptr::null_mut()) };
    note(&format!(
        "inject at {line:#x}, then: kill -USR1 {}",
        process::id()
    ));
    let mut signal = 0;
    // SAFETY: set and result are valid.
    match unsafe { libc::sigwait(&signals, &mut signal) } {
        0 => Ok(()),
        error => bail!("cannot wait for SIGUSR1: error {error}"),
    }
}
