//! `/dev`: a file system in memory, filled with the names of devices.

mod kmsg;
mod memory;

use alloc::sync::Arc;

use super::device::{self, Device};
use super::tmpfs::Tmpfs;
use super::tty::{CurrentTerminal, Processes, TerminalDevice, Tty};
use super::{DeviceNumber, FileSystem, FileType, NewInode, block};
use crate::error::Result;

/// How many inodes `/dev` may have.
const INODES: u64 = 4096;

/// Registers the devices that need no hardware, and the console.
///
/// # Errors
///
/// `EEXIST`: they are registered already.
pub fn register(console: &Arc<Tty>) -> Result<()> {
    for (minor, _, kind) in memory::DEVICES {
        add(1, *minor, Arc::new(*kind))?;
    }
    add(1, kmsg::MINOR, Arc::new(kmsg::KernelLog))?;
    let terminal = |controls| {
        Arc::new(TerminalDevice {
            tty: Arc::clone(console),
            controls,
        })
    };
    let jobs = Arc::new(Processes);
    add(5, 0, Arc::new(CurrentTerminal { jobs }))?;
    add(5, 1, terminal(false))?;
    // The number of `ttyAMA0`: low-density serial ports.
    add(204, 64, terminal(true))
}

fn add(major: u32, minor: u32, device: Arc<dyn Device>) -> Result<()> {
    let number = DeviceNumber::new(major, minor);
    device::register(FileType::CharacterDevice, number, device)
}

/// A new `/dev`, with the names of all devices of [`register`], and of all disks.
///
/// # Errors
///
/// `ENOMEM`.
pub fn new() -> Result<Arc<Tmpfs>> {
    let file_system = Tmpfs::new("devtmpfs", INODES);
    let root = file_system.root();
    let device = |name: &str, major, minor, permissions| {
        let what = NewInode::CharacterDevice(DeviceNumber::new(major, minor));
        root.create(name.as_bytes(), what, permissions).map(drop)
    };
    for (minor, name, _) in memory::DEVICES {
        device(name, 1, *minor, 0o666)?;
    }
    device("kmsg", 1, kmsg::MINOR, 0o644)?;
    device("tty", 5, 0, 0o666)?;
    device("console", 5, 1, 0o600)?;
    device("ttyAMA0", 204, 64, 0o600)?;
    for disk in block::disks() {
        let what = NewInode::BlockDevice(disk.number());
        root.create(disk.name().as_bytes(), what, 0o660)?;
    }
    for (name, text) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let what = NewInode::SymbolicLink(text.as_bytes());
        root.create(name.as_bytes(), what, 0o777)?;
    }
    root.create(b"shm", NewInode::Directory, 0o1777)?;
    Ok(file_system)
}
