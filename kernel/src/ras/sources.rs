//! Firmware's error sources: where they are, and what they report now.
//!
//! The tables are read once, at boot. After that nothing here allocates, locks or waits.

use alloc::vec::Vec;
use core::fmt;

use apei::{
    Einj, GenericSource, GenericSourceV2, Hest, Limits, NotificationKind, Platform, Source,
    TableError, TableHeader,
};
use cper::{Severity, StatusBlock};

use crate::ras::queue::{BLOCK_LENGTH, Queue};

/// No table that concerns errors comes near this length, in bytes.
const LONGEST_TABLE: usize = 64 * 1024;

/// Length of what firmware starts with, in bytes: ACPI 6.5, 5.2.5.3.
const RSDP_LENGTH: usize = 36;

/// What firmware offers.
#[derive(Debug)]
pub(super) struct Firmware<P> {
    platform: P,
    sources: Vec<Ghes>,
    /// The table for error injection, if there is one.
    einj: Option<Vec<u8>>,
}

/// A source that is in use.
#[derive(Clone, Copy, Debug)]
enum Ghes {
    /// Without acknowledgement.
    V1(GenericSource),
    /// With.
    V2(GenericSourceV2),
}

/// A report in short, for who must decide before it can be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    /// How bad it is.
    pub(super) severity: Severity,
}

/// Why the tables cannot be used.
#[derive(Debug)]
pub(super) enum TablesError<E> {
    /// Memory could not be read.
    Platform(E),
    /// There is no root pointer at that address, or a broken one.
    NoRoot(u64),
    /// A table at this address is broken.
    Table(u64, TableError),
    /// A table at this address says it has this length.
    Length(u64, usize),
}

impl<P: Platform + Copy> Firmware<P> {
    /// Reads the tables to which the root pointer (RSDP) at physical address `rsdp` leads.
    ///
    /// # Errors
    ///
    /// [`TablesError`].
    pub(super) fn read(mut platform: P, rsdp: u64) -> Result<Self, TablesError<P::Error>> {
        let mut firmware = Self {
            platform,
            sources: Vec::new(),
            einj: None,
        };
        let root = root_table(&mut platform, rsdp)?;
        let xsdt = read_table(&mut platform, root, *b"XSDT")?.unwrap_or_default();
        let entries = xsdt.get(size_of::<TableHeader>()..).unwrap_or_default();
        for entry in entries.chunks_exact(8) {
            let address = u64::from_le_bytes(entry.try_into().unwrap_or_default());
            if let Some(table) = read_table(&mut platform, address, *b"HEST")? {
                let broken = |error| TablesError::Table(address, error);
                for source in Hest::parse(&table).map_err(broken)?.sources() {
                    firmware.add(&source.map_err(broken)?);
                }
            } else if let Some(table) = read_table(&mut platform, address, *b"EINJ")? {
                Einj::parse(&table).map_err(|error| TablesError::Table(address, error))?;
                firmware.einj = Some(table);
            }
        }
        Ok(firmware)
    }

    /// Reaches for everything that later will be, so that it is mapped.
    pub(super) fn touch(&self) {
        let mut platform = self.platform;
        for source in &self.sources {
            // What cannot be reached now cannot be reached later; a claim then finds nothing.
            let _ = source.common().is_pending(&mut platform);
            if let Ghes::V2(source) = source
                && let Ok(register) = source.read_ack.register.register()
            {
                let _ = platform.read(register);
            }
        }
        if let Some(table) = &self.einj
            && let Ok(einj) = Einj::parse(table)
            && einj.available(Limits::default(), &mut platform).is_ok()
        {
            log::info!("EINJ: Error INJection is initialized.");
        }
    }

    fn add(&mut self, source: &Source<'_>) {
        match source {
            Source::Generic(source) if source.is_enabled() => {
                self.sources.push(Ghes::V1(**source));
            }
            Source::GenericV2(source) if source.source.is_enabled() => {
                self.sources.push(Ghes::V2(**source));
            }
            _ => {}
        }
    }

    /// How many sources there are.
    pub(super) fn count(&self) -> usize {
        self.sources.len()
    }

    /// Access to its registers and memory.
    pub(super) fn platform(&self) -> P {
        self.platform
    }

    /// The bytes of the table for error injection.
    pub(super) fn einj(&self) -> Option<&[u8]> {
        self.einj.as_deref()
    }

    /// The interrupts by which sources call, GIC INTIDs: to be enabled, and answered by claiming.
    pub(super) fn interrupts(&self) -> impl Iterator<Item = u32> {
        let notifications = self
            .sources
            .iter()
            .map(|source| source.common().notification);
        notifications
            .filter(|notification| notification.kind == NotificationKind::GSIV)
            .map(|notification| notification.vector.get())
    }

    /// Takes what sources of these kinds report into the queue, and lets them report again. Gives
    /// the worst.
    ///
    /// Runs anywhere. A report that cannot be read is as good as none: the caller has what the
    /// hardware says.
    pub(super) fn claim<T: Copy>(
        &self,
        kinds: &[NotificationKind],
        queue: &Queue<T>,
        owner: u32,
        tag: impl Fn(u16) -> T,
    ) -> Option<Claimed> {
        let mut worst = None;
        for source in &self.sources {
            let common = source.common();
            if !kinds.contains(&common.notification.kind) {
                continue;
            }
            let mut platform = self.platform;
            if !matches!(common.is_pending(&mut platform), Ok(true)) {
                continue;
            }
            // Without a slot the report stays with firmware, for the next claim.
            let Some(mut slot) = queue.reserve() else {
                continue;
            };
            let claimed = source.claim(&mut platform, slot.buffer());
            let Ok(Some((severity, length))) = claimed else {
                continue;
            };
            slot.publish(length, owner, tag(common.source_id.get()));
            let severity = match worst {
                Some(Claimed { severity: before }) => severity.worst(before),
                None => severity,
            };
            worst = Some(Claimed { severity });
        }
        worst
    }
}

impl Ghes {
    fn common(&self) -> &GenericSource {
        match self {
            Self::V1(source) => source,
            Self::V2(source) => &source.source,
        }
    }

    /// Severity and length of what was taken.
    fn claim<P: Platform>(
        &self,
        platform: &mut P,
        buffer: &mut [u8; BLOCK_LENGTH],
    ) -> Result<Option<(Severity, usize)>, apei::ClaimError<P::Error>> {
        let block = match self {
            Self::V1(source) => source.claim(platform, buffer)?,
            Self::V2(source) => source.claim(platform, buffer)?,
        };
        let in_short = |block: StatusBlock<'_>| {
            let length = block.header().block_length().unwrap_or(0);
            (block.severity(), length)
        };
        Ok(block.map(in_short))
    }
}

/// The address of the root table (XSDT).
fn root_table<P: Platform>(platform: &mut P, rsdp: u64) -> Result<u64, TablesError<P::Error>> {
    let mut root = [0; RSDP_LENGTH];
    if rsdp.checked_add(RSDP_LENGTH as u64).is_none() {
        return Err(TablesError::NoRoot(rsdp));
    }
    platform
        .read_memory(rsdp, &mut root)
        .map_err(TablesError::Platform)?;
    let sum = root.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if !root.starts_with(b"RSD PTR ") || sum != 0 {
        return Err(TablesError::NoRoot(rsdp));
    }
    let address: [u8; 8] = root[24..32].try_into().unwrap_or_default();
    Ok(u64::from_le_bytes(address))
}

/// The table at `address`, if it has this signature.
fn read_table<P: Platform>(
    platform: &mut P,
    address: u64,
    signature: [u8; 4],
) -> Result<Option<Vec<u8>>, TablesError<P::Error>> {
    const HEADER: usize = size_of::<TableHeader>();
    if address.checked_add(LONGEST_TABLE as u64).is_none() {
        return Err(TablesError::Length(address, LONGEST_TABLE));
    }
    let mut header = [0; HEADER];
    platform
        .read_memory(address, &mut header)
        .map_err(TablesError::Platform)?;
    if !header.starts_with(&signature) {
        return Ok(None);
    }
    let length: [u8; 4] = header[4..8].try_into().unwrap_or_default();
    let length = u32::from_le_bytes(length) as usize;
    if !(HEADER..=LONGEST_TABLE).contains(&length) {
        return Err(TablesError::Length(address, length));
    }
    let mut table = alloc::vec![0; length];
    platform
        .read_memory(address, &mut table)
        .map_err(TablesError::Platform)?;
    TableHeader::parse(&table, signature).map_err(|error| TablesError::Table(address, error))?;
    Ok(Some(table))
}

impl<E: fmt::Display> fmt::Display for TablesError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(error) => write!(formatter, "{error}"),
            Self::NoRoot(address) => {
                write!(formatter, "there is no ACPI root pointer at {address:#x}")
            }
            Self::Table(address, error) => write!(formatter, "table at {address:#x}: {error}"),
            Self::Length(address, length) => {
                write!(
                    formatter,
                    "table at {address:#x} cannot be {length} bytes long"
                )
            }
        }
    }
}
