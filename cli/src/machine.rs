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
//! | [`tiny`] | guests of a few instructions, for tests |
//!
//! ```text
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

mod arguments;
pub(crate) mod console;
pub(crate) mod directory;
mod image;
pub(crate) mod mailbox;
pub(crate) mod monitor;
mod process;
pub(crate) mod qmp;
pub(crate) mod tiny;
pub(crate) mod watchdog;

use std::fmt;
use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FallocateFlags, fallocate};
use serde_json::{Value, json};

use self::console::Console;
use self::directory::{Directory, Record};
use self::mailbox::Mailbox;
use self::process::{Process, Started};
use self::qmp::Qmp;
use self::watchdog::{Hang, Watchdog};

/// The program.
const QEMU: &str = "qemu-system-aarch64";

/// How long QEMU and the monitor may take to start on a very busy machine.
const BOOT_LIMIT: Duration = Duration::from_secs(20);

/// How often to look for what nobody reports.
const POLL: Duration = Duration::from_millis(50);

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
    /// A file that gets a copy of what the guest prints.
    pub(crate) log: Option<PathBuf>,
    /// Whether a nanosecond of the guest's time is one instruction (QEMU's `-icount`).
    pub(crate) counts_instructions: bool,
    /// Raw images of disks, which the guest may write to: `/dev/vda`, `/dev/vdb` and so on.
    pub(crate) disks: Vec<PathBuf>,
    /// More arguments for QEMU.
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
    /// The user left the terminal with Ctrl-A x. The guest still runs.
    Left,
    /// QEMU ended, with these last words.
    Exited(String),
}

/// A running machine. It ends, and everything of it is removed, when this is dropped or when this
/// process ends, however it does.
pub(crate) struct Machine {
    qmp: Qmp,
    console: Console,
    process: Process,
    name: String,
    ram: PathBuf,
    memory: u64,
    has_monitor: bool,
    /// Last, because fields are dropped in this order: QEMU ends before its files are removed.
    _directory: Registered,
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
            log: None,
            counts_instructions: false,
            disks: Vec::new(),
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
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let mut directory = Registered::create(&options.name)?;
        let socket = directory.file("qmp");
        let ram = directory.make_ram(options.memory)?;
        let arguments = arguments::of_qemu(options, &ram, &socket, &directory.file("boot"))?;
        let log = options.log.as_ref().map(|path| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        });
        let Started {
            process,
            input,
            output,
        } = Process::start(QEMU, &arguments)?;
        let console = Console::new(input, output, options.output, log.transpose()?);
        let mut qmp = connect(&socket, &process)?;
        directory.publish(&Record {
            name: options.name.clone(),
            pid: process.id(),
            ram: ram.clone(),
            memory: options.memory,
            guest_cpus: options.guest_cpus,
            monitor: options.monitor.is_some(),
            started: directory::now(),
        })?;
        qmp.execute("cont", Value::Null)?;
        Ok(Self {
            qmp,
            console,
            process,
            name: options.name.clone(),
            ram,
            memory: options.memory,
            has_monitor: options.monitor.is_some(),
            _directory: directory,
        })
    }

    /// Waits until the guest ends, asks for a reset or hangs, at most for `limit`.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be asked.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        mut watchdog: Option<&mut Watchdog>,
    ) -> Result<End> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mailbox = match watchdog {
            Some(_) => self.open_mailbox().ok(),
            None => None,
        };
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.qmp.event(left.map_or(POLL, |left| left.min(POLL))) {
                Ok(Some(event)) if event.name == "SHUTDOWN" && event.data["guest"] == true => {
                    self.console.settle();
                    return Ok(if event.data["reason"] == "guest-reset" {
                        End::Reset
                    } else {
                        End::Off
                    });
                }
                Ok(_) => {}
                Err(qmp::Ended) => return Ok(End::Exited(last_words(&self.process))),
            }
            if self.console.has_left() {
                return Ok(End::Left);
            }
            if let Some(watchdog) = &mut watchdog
                && let Some(quiet) = watchdog.look(&self.console, mailbox.as_ref())
            {
                let hang = self.hang(quiet, mailbox.as_ref())?;
                return Ok(End::Hung(Box::new(hang)));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(End::TimedOut);
            }
        }
    }

    /// What the guest looks like now, after it has been quiet for that long.
    fn hang(&mut self, quiet: Duration, mailbox: Option<&Mailbox>) -> Result<Hang> {
        let heartbeat = || mailbox.and_then(|mailbox| mailbox.heartbeat().ok());
        let before = heartbeat();
        thread::sleep(POLL);
        let looks = before.map(|before| heartbeat() != Some(before));
        let registers = self.qmp.monitor("info registers -a")?;
        Ok(Hang::new(quiet, &registers, looks, mailbox, &self.console))
    }

    /// Starts the guest anew in place, with all of its RAM zero but for what the host loads.
    /// Returns how long that took, from the call until the processors run.
    ///
    /// Memory tags are not in RAM's file and stay; hardware promises nothing about them either.
    /// QEMU keeps code that it has translated until somebody writes to where the code was, so a
    /// guest that jumps to memory it has not written may run what was there before.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be asked, or the system cannot punch a hole into the RAM's file.
    pub(crate) fn reset(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.qmp.execute("stop", Value::Null)?;
        let ram = File::options().read(true).write(true).open(&self.ram)?;
        let length = i64::try_from(self.memory).context("so much RAM has no file")?;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&ram, hole, 0, length).with_context(|| {
            format!(
                "cannot make the guest's RAM zero: the file system of {} cannot punch holes",
                self.ram.display()
            )
        })?;
        // QEMU obeys its own action too, and would only stop.
        self.qmp
            .execute("set-action", json!({ "reboot": "reset" }))?;
        self.qmp.execute("system_reset", Value::Null)?;
        self.qmp.await_event("RESET")?;
        self.qmp
            .execute("set-action", json!({ "reboot": "shutdown" }))?;
        self.qmp.execute("cont", Value::Null)?;
        Ok(start.elapsed())
    }

    /// The serial port.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// QEMU's own control.
    #[cfg(test)]
    pub(crate) fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of RAM, the monitor's included.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// The file that is the guest's RAM. Its first byte is at [`control::layout::RAM_BASE`].
    pub(crate) fn ram(&self) -> &Path {
        &self.ram
    }

    /// The monitor. May be asked for as soon as the machine has started: it waits for the monitor
    /// to enter the guest.
    ///
    /// # Errors
    ///
    /// If the machine has no monitor, or it failed; the message has its log.
    pub(crate) fn mailbox(&self) -> Result<Mailbox> {
        let mailbox = self.open_mailbox()?;
        mailbox.wait_until_running(BOOT_LIMIT)?;
        Ok(mailbox)
    }

    fn open_mailbox(&self) -> Result<Mailbox> {
        if !self.has_monitor {
            bail!("this machine was started without a monitor");
        }
        Ok(Mailbox::open(&self.ram, self.memory)?)
    }
}

/// A directory that [`remove_all`] knows of.
struct Registered(Directory);

/// The directories of all machines of this process.
static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

impl Registered {
    fn create(name: &str) -> Result<Self> {
        let directory = Directory::create(name)?;
        directories().push(directory.path().to_owned());
        Ok(Self(directory))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        directories().retain(|path| path != self.0.path());
    }
}

impl Deref for Registered {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.0
    }
}

impl DerefMut for Registered {
    fn deref_mut(&mut self) -> &mut Directory {
        &mut self.0
    }
}

fn directories() -> MutexGuard<'static, Vec<PathBuf>> {
    DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a process that is about to end without dropping what it has: removes the files of its
/// machines and gives back the terminal. The kernel ends their QEMUs with this process.
pub(crate) fn remove_all() {
    console::restore_terminal();
    for path in directories().drain(..) {
        // What stays is stale; the next machine removes it.
        let _ = directory::remove(&path);
    }
}

/// Waits until QEMU has made its socket.
fn connect(socket: &Path, process: &Process) -> Result<Qmp> {
    let deadline = Instant::now() + BOOT_LIMIT;
    loop {
        // QEMU listens before it makes the file visible to a connection, or not at all.
        if socket.exists()
            && let Ok(qmp) = Qmp::connect(socket)
        {
            return Ok(qmp);
        }
        if process.wait(Duration::from_millis(2)).is_some() {
            bail!("QEMU does not start: {}", last_words(process));
        }
        if Instant::now() >= deadline {
            bail!("QEMU does not start: {}", process.words());
        }
    }
}

/// Why QEMU ended, in its own words if it had any.
fn last_words(process: &Process) -> String {
    let status = process.wait(BOOT_LIMIT).flatten();
    // Its last words may still be in the pipe.
    thread::sleep(POLL);
    match (process.words(), status) {
        (words, _) if !words.is_empty() => words,
        (_, Some(status)) => status.to_string(),
        (_, None) => "for an unknown reason".to_owned(),
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("the guest switched itself off"),
            Self::Reset => formatter.write_str("the guest asked for a reset"),
            Self::Hung(hang) => write!(formatter, "{hang}"),
            Self::TimedOut => formatter.write_str("the guest's time is over"),
            Self::Left => formatter.write_str("you left the machine"),
            Self::Exited(words) => write!(formatter, "QEMU ended: {words}"),
        }
    }
}

#[cfg(test)]
mod tests;
