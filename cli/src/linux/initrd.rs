//! The initial RAM disk: a first process, test programs, a shell, modules, and ACPI tables.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{Command, End};
use crate::linux::cpio::Archive;
use crate::linux::debian::Debian;
use crate::workspace::Workspace;

/// What the programs are built for.
pub(super) const TARGET: &str = "aarch64-unknown-linux-musl";

/// Time for building them.
const LIMIT: Duration = Duration::from_secs(600);

/// A RAM disk with our programs and a shell. What follows `--` on the kernel's command line is
/// run; without, the shell is.
///
/// # Errors
///
/// If the programs cannot be built, or the shell not be fetched.
pub(super) fn with_programs(
    workspace: &Workspace,
    debian: &Debian,
    modules: &[PathBuf],
) -> Result<Vec<u8>> {
    let names = [
        "ras",
        "campaign",
        "kernel-bench",
        "errno-table",
        "syscall-fuzz",
        "soak",
    ];
    let mut archive = with(workspace, &names)?;
    let shell = debian.fetch("busybox-static", None, |name| name == "busybox")?;
    archive.program("bin/busybox", &read(&shell.folder.join("busybox"))?);
    archive.link("bin/sh", "busybox");
    for folder in ["lib", "lib/modules"] {
        archive.folder(folder);
    }
    for module in modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("lib/modules/{name}"), &read(module)?);
    }
    Ok(archive.finish())
}

/// An archive with these programs of ours, and the one that starts them.
pub(super) fn with(workspace: &Workspace, names: &[&str]) -> Result<Archive> {
    let programs = build_programs(workspace)?;
    let mut archive = Archive::default();
    archive.program("init", &read(&programs.join("init"))?);
    archive.folder("bin");
    for name in names {
        archive.program(&format!("bin/{name}"), &read(&programs.join(name))?);
    }
    Ok(archive)
}

/// An archive with ACPI tables. Linux wants it at the start of the RAM disk, not compressed.
pub(super) fn with_tables(cpus: u32) -> Vec<u8> {
    let mut archive = Archive::default();
    let mut path = String::new();
    for folder in ["kernel", "firmware", "acpi"] {
        path += folder;
        archive.folder(&path);
        path += "/";
    }
    for table in firmware::host::tables(cpus) {
        archive.file(&format!("{path}{}", table.name), &table.bytes);
    }
    archive.finish()
}

/// The folder that holds the programs.
fn build_programs(workspace: &Workspace) -> Result<PathBuf> {
    let command = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        .args(["--package", "seaworthy-programs"])
        .directory(&workspace.root);
    let mut output = String::new();
    let end = command.stream(LIMIT, |line| {
        output += line;
        output += "\n";
    })?;
    match end {
        End::Exited(status) if status.success() => {}
        End::Exited(status) => bail!("`{command}` failed ({status}):\n{output}"),
        End::TimedOut => bail!("`{command}` took over {} s:\n{output}", LIMIT.as_secs()),
    }
    Ok(workspace.target_directory.join(TARGET).join("release"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_where_linux_looks_for_them() {
        let archive = with_tables(2);
        let text = String::from_utf8_lossy(&archive);
        let mut rest = text.as_ref();
        for name in ["", "/hest.aml", "/einj.aml", "/ssdt.aml", "/madt.aml"] {
            let path = format!("kernel/firmware/acpi{name}\0");
            let Some((_, after)) = rest.split_once(&path) else {
                panic!("{path:?} is not there, or not in its place");
            };
            rest = after;
        }
        // What follows is another archive, which starts at such an address.
        assert_eq!(archive.len() % 4, 0);
    }
}
