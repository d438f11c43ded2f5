//! What boots in a campaign, and what is expected of it.

use anyhow::Result;
use clap::ValueEnum;
use programs::case::Kernel;

use crate::linux::{Boot, Parts, provide};
use crate::machine::Machine;
use crate::tools::Install;
use crate::workspace::Workspace;

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guest {
    /// Debian's, on the monitor, by UEFI and ACPI
    Linux,
}

impl Guest {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A kernel that can be booted any number of times.
pub(crate) struct Run {
    pub(crate) guest: Guest,
    pub(crate) cpu: String,
    /// What is expected.
    pub(crate) kernel: Kernel,
    parts: Parts,
    boot: Boot,
}

/// Nothing but results on the console; an oops is the end, or else a task would die with all locks
/// that it holds; the program that takes orders.
const COMMAND_LINE: &str = "loglevel=1 oops=panic -- /bin/campaign --serve --kernel panics";

impl Run {
    /// Builds and fetches what is needed.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub(crate) fn prepare(
        guest: Guest,
        cpu: &str,
        cpus: usize,
        workspace: &Workspace,
        install: Install,
    ) -> Result<Self> {
        provide(workspace, install)?;
        Ok(Self {
            guest,
            cpu: cpu.to_owned(),
            kernel: Kernel::Panics,
            parts: Parts::prepare(None, None, workspace)?,
            boot: Boot {
                acpi: true,
                processor: cpu.to_owned(),
                cpus,
                command_line: COMMAND_LINE.to_owned(),
                ..Boot::new(&format!("campaign-{}", std::process::id()))
            },
        })
    }

    /// Boots it.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be started.
    pub(crate) fn start(&self) -> Result<Machine> {
        self.parts.start(&self.boot)
    }

    /// Whether errors in the kernel shall be survived, as `recover=` says it.
    pub(crate) fn recover(&self) -> &'static str {
        match self.kernel {
            Kernel::Survives => "on",
            Kernel::Panics => "off",
        }
    }
}
