//! What the monitor reads from QEMU's device tree, and how it hides itself in it.

use core::fmt;
use core::ops::Range;

use control::layout::{
    DOORBELL, FIRMWARE, FIRMWARE_LENGTH, RAM_BASE, REGISTERS_LENGTH, RESERVED_ALIGNMENT,
    RESERVED_LENGTH,
};
use dtoolkit::error::{FdtMutError, FdtParseError, StandardError};
use dtoolkit::fdt::Fdt;
use dtoolkit::fdt_mut::FdtMut;
use dtoolkit::{Node, Property};

/// Why the machine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The device tree is malformed.
    Malformed(FdtParseError),
    /// A node that every machine has is missing or malformed.
    Standard(StandardError),
    /// There are several ranges of RAM.
    SeveralBanks,
    /// RAM does not start where `virt` has it.
    RamStart(u64),
    /// RAM is too small, or does not end at a multiple of 2 MiB.
    RamEnd(u64),
    /// There is no node for this CPU.
    NoCpu(usize),
    /// There is no `/chosen`.
    NoChosen,
    /// There is no room for another property.
    NoRoom,
}

/// The machine's RAM, the monitor's part included.
///
/// # Errors
///
/// [`Error`], if the device tree is malformed or the RAM is not what the monitor can use.
pub fn ram(tree: Fdt<'_>) -> Result<Range<u64>, Error> {
    let memory = tree.memory().map_err(Error::Standard)?;
    let mut banks = memory
        .reg()
        .map_err(|error| Error::Standard(StandardError::PropertyConversion(error)))?
        .ok_or(Error::Standard(StandardError::MemoryMissing))?;
    let bank = banks
        .next()
        .ok_or(Error::Standard(StandardError::MemoryMissing))?;
    // Another bank, or with NUMA another node of the same name.
    let nodes = tree
        .root()
        .children()
        .filter(|node| node.name_without_address() == "memory")
        .count();
    if banks.next().is_some() || nodes > 1 {
        return Err(Error::SeveralBanks);
    }
    let start: u64 = bank.address().map_err(Error::Standard)?;
    let length: u64 = bank.size().map_err(Error::Standard)?;
    if start != RAM_BASE {
        return Err(Error::RamStart(start));
    }
    match start.checked_add(length) {
        // The monitor's own table maps 512 GiB.
        Some(end)
            if length >= 2 * RESERVED_LENGTH
                && end.is_multiple_of(RESERVED_ALIGNMENT)
                && end <= 512 << 30 =>
        {
            Ok(start..end)
        }
        _ => Err(Error::RamEnd(start.saturating_add(length))),
    }
}

/// How many CPUs the machine has.
///
/// # Errors
///
/// [`Error::Standard`], if `/cpus` is missing.
pub fn cpus(tree: Fdt<'_>) -> Result<usize, Error> {
    Ok(tree.cpus().map_err(Error::Standard)?.cpus().count())
}

/// What the guest's device tree says that QEMU's did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The guest's RAM.
    pub ram: Range<u64>,
    /// The CPU that the guest shall not see: its index, which is also its MPIDR affinity.
    pub hidden_cpu: Option<usize>,
    /// The initial RAM disk, to be announced in `/chosen`.
    pub initrd: Option<Range<u64>>,
    /// Whether `/chosen` says where the doorbell and the firmware memory are.
    pub announce: bool,
}

/// Changes the tree at the start of `buffer`, all of which it may grow into.
///
/// # Errors
///
/// [`Error`], if the tree is malformed, or the buffer too small.
pub fn change(buffer: &mut [u8], changes: &Changes) -> Result<(), Error> {
    FdtMut::from_slice(buffer).map_err(Error::Malformed)?;
    trim(buffer);
    let mut tree = FdtMut::from_slice(buffer).map_err(Error::Malformed)?;

    let ram = &changes.ram;
    let mut memory = tree
        .find_node_mut("/memory")
        .ok_or(Error::Standard(StandardError::MemoryMissing))?;
    memory
        .property_mut("reg")
        .ok_or(Error::Standard(StandardError::MemoryMissing))?
        .set_value(range(ram.start, ram.end - ram.start))
        .map_err(no_room)?;

    if let Some(index) = changes.hidden_cpu {
        hide_cpu(&mut tree, index)?;
    }

    let mut chosen = tree.find_node_mut("/chosen").ok_or(Error::NoChosen)?;
    if let Some(initrd) = &changes.initrd {
        for (name, value) in [
            ("linux,initrd-start", initrd.start),
            ("linux,initrd-end", initrd.end),
        ] {
            chosen.remove_property(name);
            chosen.add_property(name, value).map_err(no_room)?;
        }
    }
    if changes.announce {
        chosen
            .add_property("seaworthy,doorbell", range(DOORBELL, REGISTERS_LENGTH))
            .map_err(no_room)?;
        chosen
            .add_property("seaworthy,firmware", range(FIRMWARE, FIRMWARE_LENGTH))
            .map_err(no_room)?;
    }
    Ok(())
}

/// Gives back the room at the end of a valid tree: QEMU's is as large as it can get.
///
/// Devicetree specification 0.4, 5.2: the header's fields are big-endian words.
fn trim(buffer: &mut [u8]) {
    const TOTAL_SIZE: usize = 4;
    const STRUCT_OFFSET: usize = 8;
    const STRINGS_OFFSET: usize = 12;
    const STRINGS_SIZE: usize = 32;
    const STRUCT_SIZE: usize = 36;
    let word = |at: usize| {
        let bytes = [buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]];
        u32::from_be_bytes(bytes)
    };
    let end = |offset, size| word(offset).saturating_add(word(size));
    let used = end(STRINGS_OFFSET, STRINGS_SIZE).max(end(STRUCT_OFFSET, STRUCT_SIZE));
    let total = used.min(word(TOTAL_SIZE));
    buffer[TOTAL_SIZE..TOTAL_SIZE + 4].copy_from_slice(&total.to_be_bytes());
}

/// `virt` uses two cells for addresses and two for sizes.
fn range(start: u64, length: u64) -> [u32; 4] {
    let high = |value: u64| (value >> 32) as u32;
    let low = |value: u64| value as u32;
    [high(start), low(start), high(length), low(length)]
}

fn hide_cpu(
    tree: &mut FdtMut<dtoolkit::fdt_mut::SliceBuffer<'_>>,
    index: usize,
) -> Result<(), Error> {
    let mut cpus = tree
        .find_node_mut("/cpus")
        .ok_or(Error::Standard(StandardError::CpusMissing))?;
    // It names every CPU, this one too. Without it a guest goes by MPIDR, which says the same.
    cpus.remove_child("cpu-map");
    let mut children = cpus.children_mut();
    while let Some(child) = children.next() {
        let node = child.as_read_only();
        let is_it = node.name_without_address() == "cpu"
            && node
                .property("reg")
                .and_then(|reg| reg.value_as::<u32>().ok())
                == Some(index as u32);
        if is_it {
            child.remove();
            return Ok(());
        }
    }
    Err(Error::NoCpu(index))
}

fn no_room(_: FdtMutError) -> Error {
    Error::NoRoom
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the device tree at {RAM_BASE:#x}: {error}"),
            Self::Standard(error) => write!(f, "the device tree at {RAM_BASE:#x}: {error}"),
            Self::SeveralBanks => {
                f.write_str("RAM has several ranges: start QEMU without NUMA nodes")
            }
            Self::RamStart(start) => write!(
                f,
                "RAM starts at {start:#x} instead of {RAM_BASE:#x}: use QEMU's machine `virt`"
            ),
            Self::RamEnd(end) => write!(
                f,
                "RAM ends at {end:#x}: it must be a multiple of 2 MiB, at least 64 MiB large, and end \
                 below 512 GiB"
            ),
            Self::NoCpu(index) => write!(f, "the device tree has no CPU {index}"),
            Self::NoChosen => f.write_str("the device tree has no /chosen"),
            Self::NoRoom => f.write_str("the device tree has no room for the guest's changes"),
        }
    }
}

impl core::error::Error for Error {}
