//! What boots in a campaign, and what is expected of it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use programs::case::Kernel;

use crate::campaign::disk::Disk;
use crate::linux::{Boot, Parts, disk::of_ours, provide};
use crate::machine::{self, Machine, monitor};
use crate::run;
use crate::tools::Install;
use crate::workspace::Workspace;

/// Bytes of RAM for our kernel: more is of no use to the cases, and would have to be made zero for
/// each boot.
const MEMORY: u64 = 256 << 20;

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guest {
    /// Ours, on the monitor
    Seaworthy,
    /// Debian's, on the monitor, by UEFI and ACPI
    Linux,
}

impl Guest {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What is expected of it.
    fn kernel(self, recover: Recover) -> Kernel {
        match (self, recover) {
            (Self::Linux, _) => Kernel::Linux,
            (Self::Seaworthy, Recover::On) => Kernel::Survives,
            (Self::Seaworthy, Recover::Off) => Kernel::Panics,
        }
    }

    /// What `recover=` can be there.
    pub(crate) fn modes(self) -> &'static [Recover] {
        match self {
            Self::Seaworthy => &[Recover::On, Recover::Off],
            Self::Linux => &[Recover::Off],
        }
    }
}

/// Whether the kernel survives errors that it meets itself: `recover=` on its command line. Linux
/// does not, and has no such word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recover {
    /// It does
    On,
    /// It panics
    Off,
}

impl Recover {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// A kernel that can be booted any number of times.
pub(crate) struct Run {
    pub(crate) guest: Guest,
    pub(crate) cpu: String,
    pub(crate) recover: Recover,
    /// What is expected.
    pub(crate) kernel: Kernel,
    image: Image,
    /// How its machines' names begin, and where their disks are.
    name: String,
    folder: PathBuf,
}

/// What it is made of.
enum Image {
    Seaworthy {
        options: Box<machine::Options>,
        kernel: run::Kernel,
        /// Named in `options`, and there as long as this.
        _files: run::BootFiles,
    },
    Linux(Box<Parts>, Boot),
}

impl Run {
    /// Builds and fetches what is needed.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub(crate) fn prepare(
        guest: Guest,
        recover: Recover,
        cpu: &str,
        cpus: usize,
        workspace: &Workspace,
        install: Install,
    ) -> Result<Self> {
        provide(workspace, install)?;
        let name = format!("campaign-{}-{}", std::process::id(), recover.name());
        let kernel = guest.kernel(recover);
        let expected = kernel.to_possible_value();
        let expected = expected.map_or_else(String::new, |value| value.get_name().to_owned());
        // Nothing but results on the console, and the program that takes orders.
        let program = format!("-- /bin/campaign --serve --monitor host --kernel {expected}");
        let folder = workspace.target_directory.join("run");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let image = match guest {
            Guest::Seaworthy => {
                let kernel = run::Kernel::build(workspace)?;
                let files = kernel.files(&name, &of_ours(workspace, "campaign")?)?;
                let options = machine::Options {
                    processor: run::processor(cpu),
                    guest_cpus: cpus,
                    memory: MEMORY,
                    monitor: Some(monitor::build(workspace)?),
                    command_line: format!(
                        "loglevel=1 seaworthy.disk=/dev/vda recover={} {program} --disk /mnt",
                        recover.name()
                    ),
                    ..machine::Options::new(&name, files.guest())
                };
                Image::Seaworthy {
                    options: Box::new(options),
                    kernel,
                    _files: files,
                }
            }
            Guest::Linux => {
                let parts = Parts::prepare(None, None, workspace)?;
                let boot = Boot {
                    acpi: true,
                    processor: cpu.to_owned(),
                    cpus,
                    // An oops is the end, or else a task would die with all locks that it holds.
                    command_line: format!("loglevel=1 oops=panic {program}"),
                    ..Boot::new(&name)
                };
                Image::Linux(Box::new(parts), boot)
            }
        };
        Ok(Self {
            guest,
            cpu: cpu.to_owned(),
            recover,
            kernel,
            image,
            name,
            folder,
        })
    }

    /// The disk of machine `number`.
    pub(super) fn disk(&self, number: usize) -> Disk {
        Disk::new(&self.machine(number), &self.folder)
    }

    /// Boots machine `number`, with its disk made empty.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be started.
    pub(super) fn start(&self, number: usize, disk: &Disk) -> Result<Machine> {
        disk.renew()?;
        let name = self.machine(number);
        match &self.image {
            Image::Seaworthy { options, .. } => Machine::start(&machine::Options {
                name,
                disks: vec![disk.path().to_owned()],
                ..machine::Options::clone(options)
            }),
            Image::Linux(parts, boot) => parts.start(&Boot {
                name,
                ..boot.clone()
            }),
        }
    }

    fn machine(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The functions in a report of the kernel's, if it is ours.
    pub(crate) fn name_calls(&self, console: &str) -> Vec<String> {
        match &self.image {
            Image::Seaworthy { kernel, .. } => kernel.name_calls(console).unwrap_or_default(),
            Image::Linux(..) => Vec::new(),
        }
    }
}
