//! What the tasks need beyond cargo and a compiler: how to look for it, how to install it.

mod file;
mod install;
mod qemu;
mod rustup;
mod standard_library;
mod system;

use std::fmt;

use crate::command::Command;
use crate::workspace::Workspace;

pub(crate) use self::file::{DEBIAN_KEYRING, EDK2};
pub(crate) use self::install::{Install, Lack, Toolbox, provide};
pub(crate) use self::qemu::{QEMU_SYSTEM, QEMU_USER};
pub(crate) use self::rustup::nightly_for_miri;
pub(crate) use self::standard_library::Source;

/// Something that a task needs and a machine may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// A component of the workspace's toolchain that is a subcommand of cargo.
    Component {
        /// What rustup calls it.
        name: &'static str,
        /// The subcommand.
        subcommand: &'static str,
    },
    /// The standard library for a target, as rustup distributes it.
    Target(String),
    /// Miri and the source of the standard library, in this nightly toolchain.
    Miri {
        /// The toolchain's name, or `nightly` if there is none yet.
        toolchain: String,
    },
    /// A program of QEMU.
    Qemu(qemu::Program),
    /// A file that a package of the system has.
    File(file::Packaged),
}

/// `cargo fmt`.
pub(crate) const RUSTFMT: Tool = Tool::Component {
    name: "rustfmt",
    subcommand: "fmt",
};

/// `cargo clippy`.
pub(crate) const CLIPPY: Tool = Tool::Component {
    name: "clippy",
    subcommand: "clippy",
};

/// Whether a tool is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The version, or another word for what was found.
    Found(String),
    /// Why what was found, if anything, is not enough.
    Missing(String),
}

/// How to get a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// By running these, in this order.
    Commands(Vec<Command>),
    /// Only the user can; this text says how.
    ByHand(String),
}

/// Who supplies a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supplier {
    /// rustup's server.
    Rustup,
    /// The system's package manager.
    System,
}

impl Tool {
    /// Looks for the tool on this machine.
    pub(crate) fn status(&self, workspace: &Workspace) -> Status {
        match self {
            Self::Component { subcommand, .. } => rustup::component_status(subcommand, workspace),
            Self::Target(target) => rustup::target_status(target, &workspace.compiler),
            Self::Miri { toolchain } => rustup::miri_status(toolchain),
            Self::Qemu(program) => qemu::status(program),
            Self::File(file) => file::status(file),
        }
    }

    /// How to install the tool on this machine.
    pub(crate) fn recipe(&self) -> Recipe {
        match self {
            Self::Component { name, .. } => rustup::component_recipe(name),
            Self::Target(target) => rustup::target_recipe(target),
            Self::Miri { toolchain } => rustup::miri_recipe(toolchain),
            Self::Qemu(program) => qemu::recipe(program),
            Self::File(file) => file::recipe(file),
        }
    }

    pub(crate) fn supplier(&self) -> Supplier {
        match self {
            Self::Component { .. } | Self::Target(_) | Self::Miri { .. } => Supplier::Rustup,
            Self::Qemu(_) | Self::File(_) => Supplier::System,
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component { name, .. } => formatter.write_str(name),
            Self::Target(target) => write!(formatter, "Rust target {target}"),
            Self::Miri { toolchain } => write!(formatter, "Miri in Rust {toolchain}"),
            Self::Qemu(program) => write!(formatter, "{program}"),
            Self::File(file) => formatter.write_str(file.name),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(commands) => {
                for (index, command) in commands.iter().enumerate() {
                    let separator = if index == 0 { "" } else { " && " };
                    write!(formatter, "{separator}{command}")?;
                }
                Ok(())
            }
            Self::ByHand(text) => formatter.write_str(text),
        }
    }
}
