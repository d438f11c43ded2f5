//! RAM disks for our own kernel.

use anyhow::Result;

use crate::linux::cpio::Archive;
use crate::linux::debian::Debian;
use crate::linux::initrd::{with, with_programs};
use crate::workspace::Workspace;

/// A shell and our programs, as for Linux but without modules.
///
/// # Errors
///
/// If the programs cannot be built, or the shell not be fetched.
pub(crate) fn of_shell(workspace: &Workspace) -> Result<Vec<u8>> {
    with_programs(workspace, &Debian::find()?, &[])
}

/// Nothing but one program of ours, and the one that starts it.
///
/// # Errors
///
/// If they cannot be built.
pub(crate) fn of_ours(workspace: &Workspace, name: &str) -> Result<Vec<u8>> {
    Ok(with(workspace, &[name])?.finish())
}

/// One program, which is the first.
pub(crate) fn of_one_program(program: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.program("init", program);
    archive.finish()
}
