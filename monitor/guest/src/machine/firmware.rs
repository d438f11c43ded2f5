//! What firmware shares: ACPI tables, and the reports of its error sources.

use core::cell::UnsafeCell;
use core::ops::Range;

use apei::{
    AddressSpace, GenericSourceV2, Hest, NotificationKind, Platform, Register, Source, Width,
};
use control::LINE;
use control::layout::{EINJ, FIRMWARE, FIRMWARE_LENGTH, REGISTERS_LENGTH};
use cper::{Section, SectionFlags, Severity, StatusBlock};

use super::arena::{self, View};
use super::cpu;
use super::stub::{self, Stub};
use super::timer;
use super::trial::{Mode, Trial};

/// The longest report that a source can make here.
pub(crate) const REPORT_LENGTH: usize = 4096;

/// Firmware's memory, as it was when it was looked at.
pub(crate) struct Copy(UnsafeCell<[u8; FIRMWARE_LENGTH as usize]>);

// SAFETY: only CPU 0 looks, once.
unsafe impl Sync for Copy {}

static COPY: Copy = Copy(UnsafeCell::new([0; FIRMWARE_LENGTH as usize]));

/// What the tables say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firmware {
    /// The source that reports aborts.
    pub(crate) aborts: GenericSourceV2,
    /// The source that reports SErrors, if there is one.
    pub(crate) serrors: Option<GenericSourceV2>,
    /// The source that reports by interrupt.
    pub(crate) interrupts: GenericSourceV2,
    /// The EINJ, if there is one.
    pub(crate) einj: Option<&'static [u8]>,
}

/// A report, taken and acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The block's severity.
    pub(crate) severity: Severity,
    /// The entry's severity.
    pub(crate) entry_severity: Severity,
    /// Whether it is a memory error, an Arm processor error, or neither.
    pub(crate) kind: Kind,
    /// The physical address it is about.
    pub(crate) address: Option<u64>,
    /// What the entry says of itself.
    pub(crate) flags: SectionFlags,
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A memory error section.
    Memory,
    /// An Arm processor error section.
    Processor,
    /// Another section.
    Other,
}

impl Report {
    /// The line it is about.
    pub(crate) fn line(&self) -> Option<u64> {
        self.address.map(|address| address & !(LINE - 1))
    }
}

/// Looks at the memory that firmware shares.
///
/// # Errors
///
/// What is missing or malformed.
pub(crate) fn find() -> Result<Firmware, &'static str> {
    let copy = snapshot();
    let rsdp = (0..copy.len() - 36)
        .step_by(16)
        .find(|at| copy[*at..].starts_with(b"RSD PTR "))
        .ok_or("no RSDP in the memory shared with firmware")?;
    if sum(&copy[rsdp..rsdp + 20]) != 0 || sum(&copy[rsdp..rsdp + 36]) != 0 {
        return Err("the RSDP's checksums are wrong");
    }
    let xsdt = table(copy, integer(&copy[rsdp + 24..rsdp + 32])).ok_or("the XSDT is no table")?;
    let find = |signature: &[u8; 4]| {
        xsdt[36..]
            .chunks_exact(8)
            .filter_map(|entry| table(copy, integer(entry)))
            .find(|table| table.starts_with(signature))
    };
    let hest = find(b"HEST").ok_or("the XSDT names no HEST")?;
    let hest = Hest::parse(hest).map_err(|_| "the HEST is malformed")?;
    let source = |kinds: &[NotificationKind]| {
        hest.sources().flatten().find_map(|source| match source {
            Source::GenericV2(source) if kinds.contains(&source.source.notification.kind) => {
                Some(*source)
            }
            _ => None,
        })
    };
    Ok(Firmware {
        aborts: source(&[NotificationKind::SEA]).ok_or("the HEST has no SEA source")?,
        serrors: source(&[NotificationKind::SEI]),
        interrupts: source(&[NotificationKind::GSIV, NotificationKind::EXTERNAL_INTERRUPT])
            .ok_or("the HEST has no source with an interrupt")?,
        einj: find(b"EINJ"),
    })
}

fn snapshot() -> &'static [u8] {
    // SAFETY: nobody else uses `COPY`, and it is written here once, before anybody reads it.
    let copy = unsafe { &mut *COPY.0.get() };
    for (offset, word) in copy.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&load(FIRMWARE + offset as u64 * 8).to_le_bytes());
    }
    copy
}

/// A table that is whole, by its address.
fn table(copy: &'static [u8], address: u64) -> Option<&'static [u8]> {
    let at = usize::try_from(address.checked_sub(FIRMWARE)?).ok()?;
    let length = integer(copy.get(at + 4..at + 8)?) as usize;
    let table = copy.get(at..at.checked_add(length)?)?;
    (length >= 36 && sum(table) == 0).then_some(table)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn integer(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Where firmware's memory is mapped as normal memory.
fn mapped(address: u64) -> *mut u8 {
    (address - FIRMWARE + View::Firmware.base()) as *mut u8
}

fn load(address: u64) -> u64 {
    // SAFETY: firmware's memory is mapped, and belongs to no Rust object.
    unsafe { mapped(address).cast::<u64>().read_volatile() }
}

/// Takes and acknowledges a source's report, if there is one.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn claim(source: &GenericSourceV2) -> Result<Option<Report>, &'static str> {
    let mut buffer = [0; REPORT_LENGTH];
    match source.claim(&mut Shared, &mut buffer) {
        Ok(Some(block)) => summary(&block).map(Some),
        Ok(None) => Ok(None),
        Err(_) => Err("the source's report cannot be claimed"),
    }
}

fn summary(block: &StatusBlock<'_>) -> Result<Report, &'static str> {
    let mut entries = block.entries();
    let entry = entries.next().ok_or("the report has no entry")?;
    if entries.next().is_some() {
        return Err("the report has more than one entry");
    }
    let section = entry.section().map_err(|_| "the section is malformed")?;
    let (kind, address) = match section {
        Section::Memory(memory) => (Kind::Memory, memory.physical_address()),
        Section::ArmProcessor(processor) => {
            let error = processor
                .errors
                .first()
                .ok_or("the processor section has no error")?;
            (Kind::Processor, error.physical_address())
        }
        Section::Other { .. } => (Kind::Other, None),
    };
    Ok(Report {
        severity: block.header().severity(),
        entry_severity: entry.info.severity,
        kind,
        address,
        flags: entry.info.flags,
    })
}

/// The registers and the memory that firmware's tables may name.
pub(crate) struct Shared;

/// An access that this platform does not make, or that aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u64);

const WINDOWS: [Range<u64>; 2] = [
    FIRMWARE..FIRMWARE + FIRMWARE_LENGTH,
    EINJ..EINJ + REGISTERS_LENGTH,
];

fn check(address: u64, length: usize) -> Result<(), Refused> {
    let end = address + length as u64;
    let arena = arena::physical(0)..arena::physical(arena::PAGES);
    WINDOWS
        .iter()
        .chain(&[arena])
        .any(|window| window.contains(&address) && end <= window.end)
        .then_some(())
        .ok_or(Refused(address))
}

/// By trial, since what an injection triggers is an abort.
fn access(stub: Stub, address: u64, value: u64) -> Result<u64, Refused> {
    let (buffer, offset) = (arena::BUFFER + 7, cpu::number() * 64);
    arena::write_u64(buffer, offset, value);
    let outcome = Trial::new(stub, Mode::El1h)
        .with(0, address)
        .with(3, View::Kernel.address(buffer, offset))
        .run();
    if outcome.is_done() {
        Ok(outcome.x(1))
    } else {
        Err(Refused(address))
    }
}

impl Platform for Shared {
    type Error = Refused;

    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        if register.space != AddressSpace::MEMORY {
            return Err(Refused(register.address));
        }
        check(register.address, register.width.bytes())?;
        let stub = match register.width {
            Width::Bits8 => stub::LDRB,
            Width::Bits16 => stub::LDRH,
            Width::Bits32 => stub::LDR_W,
            Width::Bits64 => stub::LDR_X,
        };
        access(stub, register.address, 0)
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        if register.space != AddressSpace::MEMORY {
            return Err(Refused(register.address));
        }
        check(register.address, register.width.bytes())?;
        let stub = match register.width {
            Width::Bits8 => stub::STRB,
            Width::Bits16 => stub::STRH,
            Width::Bits32 => stub::STR_W,
            Width::Bits64 => stub::STR_X,
        };
        super::registers::barrier();
        access(stub, register.address, value).map(|_| ())
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        check(address, bytes.len())?;
        if !WINDOWS[0].contains(&address) {
            return Err(Refused(address));
        }
        // SAFETY: inside firmware's memory, which is mapped and belongs to no Rust object.
        unsafe { core::ptr::copy(mapped(address), bytes.as_mut_ptr(), bytes.len()) }
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        check(address, bytes.len())?;
        if !WINDOWS[0].contains(&address) {
            return Err(Refused(address));
        }
        // SAFETY: as above.
        unsafe { core::ptr::copy(bytes.as_ptr(), mapped(address), bytes.len()) }
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) {
        timer::wait_microseconds(microseconds);
    }
}
