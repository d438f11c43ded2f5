//! The machine and the kernel as wholes.

use alloc::format;
use alloc::string::String;

use mm::PAGE_SIZE;

use super::Roots;
use super::process::Own;
use crate::error::Result;
use crate::fs::pseudo::{To, line, read_only};
use crate::init::command_line;
use crate::memory::{manager, total_bytes};

pub(super) fn add(roots: &Roots) {
    let proc = &roots.proc;
    proc.file("cmdline", 0o444, read_only(|| Ok(line(command_line()))));
    proc.file("filesystems", 0o444, read_only(|| Ok(FILE_SYSTEMS.into())));
    proc.file("meminfo", 0o444, read_only(meminfo));
    proc.link("self", Own);
    proc.link("mounts", To("self/mounts"));
    let console = roots.sys.directory("class/tty/console");
    console.file("active", 0o444, read_only(|| Ok("ttyAMA0\n".into())));
}

/// What `mount -t` knows; `nodev` are those without a disk.
const FILE_SYSTEMS: &str = "\
nodev\tsysfs
nodev\ttmpfs
nodev\tproc
nodev\tdevtmpfs
nodev\tdebugfs
";

/// `/proc/meminfo`, as far as there is something to say.
fn meminfo() -> Result<String> {
    let manager = manager();
    let free = manager.free_frames() * PAGE_SIZE;
    Ok(format!(
        "MemTotal:       {:8} kB\n\
         MemFree:        {:8} kB\n\
         MemAvailable:   {:8} kB\n\
         HardwareCorrupted: {:5} kB\n",
        total_bytes() >> 10,
        free >> 10,
        free >> 10,
        manager.corrupted_bytes() >> 10,
    ))
}
