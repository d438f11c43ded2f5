//! Single tables, for the host to put into an initial RAM disk.
//!
//! Linux (`CONFIG_ACPI_TABLE_UPGRADE`) takes tables from `kernel/firmware/acpi/*.aml` in an
//! uncompressed archive at the start of the initial RAM disk. It adds them to those of the machine;
//! one whose signature and OEM identifiers are the same and whose OEM revision is higher takes
//! the other's place instead.

mod madt;
mod ssdt;

use alloc::vec::Vec;

use apei::BufferTooSmall;

use crate::{Source, tables};

/// The sources that Linux knows on arm64. Of one that reports with SErrors it says that firmware is
/// at fault.
const SOURCES: [Source; 2] = [Source::Sea, Source::Gsiv];

/// A table, and the name of the file that it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The file's name, without a folder.
    pub name: &'static str,
    /// The table.
    pub bytes: Vec<u8>,
}

/// Everything that a guest with ACPI needs to hear of errors, and to inject them.
///
/// `cpus` is how many CPUs the guest has: one less than the machine if the monitor keeps one.
pub fn tables(cpus: u32) -> Vec<Table> {
    let table = |name, bytes| Table { name, bytes };
    Vec::from([
        table("hest.aml", encoded(|buffer| tables::hest(&SOURCES, buffer))),
        table("bert.aml", encoded(tables::bert)),
        table("einj.aml", encoded(tables::einj)),
        table("ssdt.aml", ssdt()),
        table("madt.aml", madt(cpus)),
    ])
}

/// The table of interrupt controllers and CPUs of QEMU's `virt` with GICv3, with only the first
/// `cpus` of its CPUs. It takes the place of QEMU's.
pub fn madt(cpus: u32) -> Vec<u8> {
    madt::encode(cpus)
}

/// The devices that turn the notification interrupt into a call to the operating system's error
/// handler.
pub fn ssdt() -> Vec<u8> {
    ssdt::encode()
}

fn encoded(encode: impl Fn(&mut [u8]) -> Result<usize, BufferTooSmall>) -> Vec<u8> {
    // Tables have the same room in the window.
    let mut buffer = [0; 0x1000];
    let length = encode(&mut buffer).expect("a table is shorter than the window's first page");
    Vec::from(&buffer[..length])
}
