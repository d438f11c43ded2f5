//! What a Linux needs to boot, and the machine that boots it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::linux::debian::Debian;
use crate::linux::initrd;
use crate::linux::kernel::Kernel;
use crate::machine::{self, Guest, Machine, Output, monitor};
use crate::tools::{DEBIAN_KEYRING, EDK2, QEMU_SYSTEM, Tool};
use crate::workspace::Workspace;

/// The console, and no waiting after a panic. What the user adds stands behind it and wins.
const COMMAND_LINE: &str = "console=ttyAMA0 panic=-1";

/// What must be installed for [`Parts::prepare`] and [`Parts::start`].
pub(crate) fn needs() -> Vec<Tool> {
    let mut needs = monitor::needs();
    needs.push(Tool::Target(initrd::TARGET.to_owned()));
    needs.extend([DEBIAN_KEYRING, EDK2].map(Tool::File));
    debug_assert!(needs.contains(&Tool::Qemu(QEMU_SYSTEM)));
    needs
}

/// Kernel, RAM disk and monitor: made once, booted any number of times.
pub(crate) struct Parts {
    kernel: Kernel,
    /// Without the ACPI tables, which depend on the machine.
    disk: Vec<u8>,
    monitor: PathBuf,
    /// Where RAM disks are written for QEMU to read.
    folder: PathBuf,
}

/// A boot of these parts.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// The machine's name.
    pub(crate) name: String,
    /// By EDK2 and with ACPI, as servers do; else with a device tree.
    pub(crate) acpi: bool,
    /// On the monitor; else on QEMU alone.
    pub(crate) on_monitor: bool,
    /// What QEMU calls the processor.
    pub(crate) processor: String,
    /// CPUs that Linux sees.
    pub(crate) cpus: usize,
    /// Bytes of RAM.
    pub(crate) memory: u64,
    /// Whether a nanosecond of the guest's is one instruction.
    pub(crate) counts_instructions: bool,
    /// What is added to the kernel's command line. What follows `--` is what the RAM disk's first
    /// process runs.
    pub(crate) command_line: String,
    /// What becomes of the console's output.
    pub(crate) output: Output,
}

impl Boot {
    /// A boot on the monitor: one CPU of `max`, 1 GiB, hidden output.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            acpi: false,
            on_monitor: true,
            processor: "max".to_owned(),
            cpus: 1,
            memory: 1 << 30,
            counts_instructions: false,
            command_line: String::new(),
            output: Output::Hidden,
        }
    }
}

impl Parts {
    /// Debian's kernel and a RAM disk with our programs and a shell, unless the user has others.
    ///
    /// # Errors
    ///
    /// If something cannot be fetched, built or read.
    pub(crate) fn prepare(
        kernel: Option<PathBuf>,
        disk: Option<PathBuf>,
        workspace: &Workspace,
    ) -> Result<Self> {
        let debian = Debian::find()?;
        let kernel = match kernel {
            Some(image) => Kernel::given(image),
            None => Kernel::fetch(&debian)?,
        };
        let disk = match disk {
            Some(path) => {
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => initrd::with_programs(workspace, &debian, &kernel.modules)?,
        };
        let folder = workspace.target_directory.join("linux");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            kernel,
            disk,
            monitor: monitor::build(workspace)?,
            folder,
        })
    }

    /// Starts a machine that boots.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`]; and if the RAM disk cannot be written.
    pub(crate) fn start(&self, boot: &Boot) -> Result<Machine> {
        Machine::start(&self.options(boot)?)
    }

    fn options(&self, boot: &Boot) -> Result<machine::Options> {
        let mut disk = Vec::new();
        if boot.acpi && boot.on_monitor {
            disk = initrd::with_tables(boot.cpus.try_into()?);
        }
        disk.extend(&self.disk);
        let path = self.folder.join(format!("{}.initrd", boot.name));
        fs::write(&path, disk).with_context(|| format!("cannot write {}", path.display()))?;
        let (kernel, initrd) = (self.kernel.image.clone(), Some(path));
        let guest = if boot.acpi {
            Guest::Firmware {
                code: PathBuf::from(EDK2.path),
                kernel,
                initrd,
            }
        } else {
            Guest::Kernel {
                image: kernel,
                initrd,
            }
        };
        Ok(machine::Options {
            // Of Arm's own algorithm for pointer authentication nobody here depends, and it is slow.
            processor: if boot.processor == "max" {
                "max,pauth-impdef=on".to_owned()
            } else {
                boot.processor.clone()
            },
            guest_cpus: boot.cpus,
            memory: boot.memory,
            counts_instructions: boot.counts_instructions,
            monitor: boot.on_monitor.then(|| self.monitor.clone()),
            command_line: format!("{COMMAND_LINE} {}", boot.command_line),
            output: boot.output,
            ..machine::Options::new(&boot.name, guest)
        })
    }
}
