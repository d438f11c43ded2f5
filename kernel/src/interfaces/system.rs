//! The machine and the kernel as wholes.

use alloc::format;
use alloc::string::String;

use mm::PAGE_SIZE;

use super::Roots;
use super::process::Own;
use crate::arch::time;
use crate::error::Result;
use crate::fs::block::{BlockDevice, disks};
use crate::fs::pseudo::{To, line, read_only};
use crate::identity::{RELEASE, VERSION};
use crate::init::command_line;
use crate::memory::{Ranges, manager, ram, total_bytes};

pub(super) fn add(roots: &Roots) {
    let proc = &roots.proc;
    proc.file("cmdline", 0o444, read_only(|| Ok(line(command_line()))));
    proc.file("filesystems", 0o444, read_only(|| Ok(FILE_SYSTEMS.into())));
    proc.file("iomem", 0o400, read_only(|| Ok(iomem(&ram()))));
    proc.file("meminfo", 0o444, read_only(meminfo));
    proc.file("uptime", 0o444, read_only(|| Ok(uptime(time::now()))));
    proc.file("version", 0o444, read_only(|| Ok(version())));
    proc.file("partitions", 0o444, read_only(|| Ok(partitions())));
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
\text4
";

/// `/proc/uptime`: seconds since boot. How long the CPUs were idle is not counted.
fn uptime(nanoseconds: u64) -> String {
    let hundredths = nanoseconds / 10_000_000;
    format!("{}.{:02} 0.00\n", hundredths / 100, hundredths % 100)
}

/// `/proc/version`.
fn version() -> String {
    format!("Linux version {RELEASE} {VERSION}\n")
}

/// `/proc/partitions`: disks, in units of 1 KiB.
fn partitions() -> String {
    let mut text = String::from("major minor  #blocks  name\n\n");
    for disk in disks() {
        let number = disk.number();
        text += &format!(
            "{:4}  {:7} {:10} {}\n",
            number.major,
            number.minor,
            disk.sectors() / 2,
            disk.name()
        );
    }
    text
}

/// `/proc/iomem`: RAM.
fn iomem(ram: &Ranges) -> String {
    let lines = ram
        .iter()
        .map(|(start, end)| format!("{start:08x}-{:08x} : System RAM\n", end - 1));
    lines.collect()
}

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

#[cfg(test)]
mod tests {
    use super::{iomem, uptime};
    use crate::memory::Ranges;

    #[test]
    fn time_is_in_hundredths() {
        assert_eq!(uptime(61_059_999_999), "61.05 0.00\n");
    }

    #[test]
    fn ram_is_listed_with_its_last_byte() {
        let mut ram = Ranges::new();
        ram.add(0x4000_0000, 0x8000_0000).unwrap();
        ram.remove(0x5000_0000, 0x5000_1000).unwrap();
        assert_eq!(
            iomem(&ram),
            "40000000-4fffffff : System RAM\n50001000-7fffffff : System RAM\n"
        );
    }
}
