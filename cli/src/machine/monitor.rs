//! Builds the monitor.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command::Command;
use crate::tools::{QEMU_SYSTEM, Tool};
use crate::workspace::Workspace;

/// Bare metal, without the registers that belong to the guest.
const TARGET: &str = "aarch64-unknown-none-softfloat";

/// How it is optimised.
const PROFILE: &str = "bare";

/// What must be installed to run a machine with the monitor.
pub(crate) fn needs() -> Vec<Tool> {
    vec![Tool::Target(TARGET.to_owned()), Tool::Qemu(QEMU_SYSTEM)]
}

/// Builds the monitor, optimised, and returns its ELF file. What cargo says goes to standard error.
///
/// # Errors
///
/// If it cannot be built.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    build_package("seaworthy-monitor", workspace)
}

/// Builds a program that runs on a bare machine, and returns its ELF file.
///
/// # Errors
///
/// If it cannot be built.
pub(crate) fn build_package(package: &str, workspace: &Workspace) -> Result<PathBuf> {
    let command = Command::new("cargo")
        .args(["build", "--quiet", "--profile", PROFILE])
        .args(["--package", package, "--target", TARGET])
        .directory(&workspace.root);
    let status = command.hand_over()?;
    if !status.success() {
        bail!("`{command}` failed ({status}); what cargo says is above");
    }
    Ok(workspace
        .target_directory
        .join(TARGET)
        .join(PROFILE)
        .join(package))
}
