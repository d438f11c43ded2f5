//! A machine in QEMU: starting it, with or without the monitor under its guest, and all that the
//! host can do with it while it runs.
//!
//! | module | what it does |
//! |---|---|
//! | [`console`] | the serial port: kept, shown, waited for, typed at |
//! | [`mailbox`] | asks the monitor through the shared RAM |
//! | [`qmp`] | asks QEMU |
//! | [`watchdog`] | tells a guest that hangs from one that works |
//! | [`directory`] | where running machines are found |
//! | [`image`] | looks at kernel images and RAM disks before QEMU does |
//! | [`monitor`] | builds the monitor |
//!
//! ```ignore
//! let options = Options {
//!     monitor: Some(monitor::build(workspace)?),
//!     command_line: "console=ttyAMA0".to_owned(),
//!     output: Output::Shown,
//!     ..Options::new("linux", Guest::Kernel { image, initrd: Some(initrd) })
//! };
//! let mut machine = Machine::start(&options)?;
//! machine.console().wait_for("login:", Duration::from_secs(60))?;
//! machine.console().send(b"root\n")?;
//! machine.mailbox()?.poison(0x5000_0000, 64, Policy::default())?;
//! loop {
//!     match machine.wait(None, None)? {
//!         End::Reset => drop(machine.reset()?),
//!         End::Off => break,
//!         end => bail!("{end}"),
//!     }
//! }
//! ```
//! ```

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use self::console::Console;
use self::mailbox::Mailbox;
use self::qmp::Qmp;
use self::watchdog::{Hang, Watchdog};

/// What to run, and on what.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The name by which `cargo seaworthy inject` finds the machine: at most 32 letters, digits,
    /// `-`, `_` and `.`.
    pub(crate) name: String,
    /// What QEMU calls the processor.
    pub(crate) processor: String,
    /// Whether the processor has memory tags (FEAT_MTE), if it can.
    pub(crate) tags: bool,
    /// CPUs that the guest sees. With a monitor the machine has one more.
    pub(crate) guest_cpus: usize,
    /// Bytes of RAM, a multiple of 2 MiB. The monitor keeps the last 32 MiB.
    pub(crate) memory: u64,
    /// The monitor's ELF file, see [`monitor::build`]; without one, the guest runs on QEMU alone.
    pub(crate) monitor: Option<PathBuf>,
    /// Whether the device tree shall say nothing of the monitor (boot::SILENT).
    pub(crate) silent: bool,
    /// What runs.
    pub(crate) guest: Guest,
    /// The guest's command line, `bootargs` in the device tree.
    pub(crate) command_line: String,
    /// What becomes of the console's output, apart from being kept.
    pub(crate) output: Output,
    /// More arguments for QEMU, such as a disk.
    pub(crate) more: Vec<String>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// A kernel that is entered as Linux's boot protocol says.
    Kernel {
        /// An ELF file or a flat `Image`.
        image: PathBuf,
        /// Its initial RAM disk.
        initrd: Option<PathBuf>,
    },
    /// EDK2 in flash, which then starts a kernel with an EFI stub.
    Firmware {
        /// `AAVMF_CODE.fd` or the like.
        code: PathBuf,
        /// The kernel, handed over with QEMU's `-kernel`.
        kernel: PathBuf,
        /// Its initial RAM disk.
        initrd: Option<PathBuf>,
    },
}

/// What becomes of the console's output, apart from being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nothing.
    Hidden,
    /// It goes to standard output as it comes.
    Shown,
}

/// How a wait for a machine ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The guest switched itself off (PSCI SYSTEM_OFF). QEMU is there: RAM and mailbox can be
    /// read, and [`Machine::reset`] starts it again.
    Off,
    /// The guest asked for a reset (PSCI SYSTEM_RESET). It waits for [`Machine::reset`].
    Reset,
    /// The watchdog saw no progress. The guest still runs.
    Hung(Box<Hang>),
    /// The time is over. The guest still runs.
    TimedOut,
    /// QEMU ended, with these last words.
    Exited(String),
}

/// A running machine. It ends, and everything of it is removed, when this is dropped or when this
/// process ends, however it does.
pub(crate) struct Machine {
    console: Console,
    qmp: Qmp,
}

impl Options {
    /// A machine with the given guest: processor `max`, one CPU, 1 GiB, no monitor, hidden output.
    pub(crate) fn new(name: &str, guest: Guest) -> Self {
        Self {
            name: name.to_owned(),
            processor: "max".to_owned(),
            tags: false,
            guest_cpus: 1,
            memory: 1 << 30,
            monitor: None,
            silent: false,
            guest,
            command_line: String::new(),
            output: Output::Hidden,
            more: Vec::new(),
        }
    }
}

impl Machine {
    /// Starts the machine. Its guest runs when this returns.
    ///
    /// # Errors
    ///
    /// If a file is missing or no good, there is no room for the RAM, a machine of that name runs,
    /// or QEMU refuses; the message has QEMU's own words.
    pub(crate) fn start(_options: &Options) -> Result<Self> {
        bail!("only the interface of this is there yet")
    }

    /// Waits until the guest ends, asks for a reset or hangs, at most for `limit`.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be asked.
    pub(crate) fn wait(
        &mut self,
        _limit: Option<Duration>,
        _watchdog: Option<&mut Watchdog>,
    ) -> Result<End> {
        bail!("only the interface of this is there yet")
    }

    /// Starts the guest anew in place, with all of its RAM zero but for what the host loads.
    /// Returns how long that took, from the call until the processors run.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be asked, or the system cannot punch a hole into the RAM's file.
    pub(crate) fn reset(&mut self) -> Result<Duration> {
        bail!("only the interface of this is there yet")
    }

    /// The serial port.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// QEMU's own control.
    pub(crate) fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// The monitor. May be asked for as soon as the machine has started: it waits for the monitor
    /// to enter the guest.
    ///
    /// # Errors
    ///
    /// If the machine has no monitor, or it failed; the message has the end of its log.
    pub(crate) fn mailbox(&self) -> Result<Mailbox> {
        bail!("only the interface of this is there yet")
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("the guest switched itself off"),
            Self::Reset => formatter.write_str("the guest asked for a reset"),
            Self::Hung(hang) => write!(formatter, "{hang}"),
            Self::TimedOut => formatter.write_str("the guest's time is over"),
            Self::Exited(words) => write!(formatter, "QEMU ended: {words}"),
        }
    }
}

/// The serial port.
pub(crate) mod console {
    use std::time::Duration;

    use anyhow::Result;

    /// The serial port of a machine.
    pub(crate) trait Interface {
        /// Everything the guest has printed since it started, or was reset.
        fn text(&self) -> String;
        /// The last lines, for a report.
        fn last_lines(&self, count: usize) -> Vec<String>;
        /// Waits until what the guest has printed contains `text`, looking at each byte only once:
        /// a second call looks behind the first find. Returns the line that contains it.
        fn wait_for(&self, text: &str, limit: Duration) -> Result<String>;
        /// Types.
        fn send(&self, bytes: &[u8]) -> Result<()>;
        /// Connects the user's terminal, raw if it is one, until the machine ends or the user types
        /// Ctrl-A x.
        fn attach_terminal(&self) -> Result<()>;
    }
    /// The serial port of a machine.
    pub(crate) struct Console;
}

/// Asks the monitor through the shared RAM.
pub(crate) mod mailbox {
    use std::time::Duration;

    use anyhow::Result;
    use control::{Counter, Notice, Policy};

    /// Methods of [`Mailbox`].
    pub(crate) trait Interface {
        fn poison(&self, address: u64, length: u64, policy: Policy) -> Result<()>;
        fn clear(&self, address: u64, length: u64) -> Result<()>;
        fn clear_all(&self) -> Result<()>;
        fn query(&self, address: u64) -> Result<Option<Policy>>;
        fn list(&self) -> Result<Vec<(u64, Policy)>>;
        fn notify(&self, notice: Notice, address: u64) -> Result<()>;
        /// Sums over all CPUs.
        fn counters(&self) -> Result<Vec<(Counter, u64)>>;
        fn log(&self) -> Result<String>;
        /// From the monitor's first instruction to its entering the guest.
        fn boot_time(&self) -> Result<Duration>;
    }
    /// The host's side of the mailbox.
    pub(crate) struct Mailbox;
}

/// Asks QEMU.
pub(crate) mod qmp {
    use anyhow::Result;
    use serde_json::Value;

    /// Methods of [`Qmp`].
    pub(crate) trait Interface {
        fn execute(&mut self, command: &str, arguments: Value) -> Result<Value>;
    }
    /// A connection to QEMU's control socket.
    pub(crate) struct Qmp;
}

/// Tells a guest that hangs from one that works.
pub(crate) mod watchdog {
    use std::fmt;
    use std::time::Duration;

    /// Barks when for `patience` the guest has printed nothing and no counter has moved.
    pub(crate) struct Watchdog {
        pub(crate) patience: Duration,
    }
    /// What a hanging guest looks like: registers, heartbeat, counters, last lines.
    #[derive(Debug)]
    pub(crate) struct Hang;
    impl fmt::Display for Hang {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }
}

/// Builds the monitor.
pub(crate) mod monitor {
    use std::path::PathBuf;

    use anyhow::Result;

    use crate::workspace::Workspace;

    /// Signature only.
    pub(crate) type Build = fn(&Workspace) -> Result<PathBuf>;
}
