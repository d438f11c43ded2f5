//! What EINJ and ERST have in common: a header, then instruction entries; and how a command is
//! executed and waited for.

use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::table::{self, TableBuilder};
use crate::{
    BufferTooSmall, InstructionEntry, InstructionSet, Limits, Oem, Platform, Program, RunError,
    TableError, TableHeader,
};

/// ACPI 18.5.1 and 18.6.1, after the table's header. The reserved field of ERST is where EINJ has
/// its flags.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    /// Firmware disagrees on what this counts (12 or 48), so nothing depends on it.
    header_length: U32,
    flags: u8,
    reserved: [u8; 3],
    entry_count: U32,
}

const FIRST_ENTRY: usize = size_of::<TableHeader>() + size_of::<Head>();
const _: () = assert!(FIRST_ENTRY == 48);

/// Why a command did not do what it should. `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError<E> {
    /// An action of the table failed.
    Run(RunError<E>),
    /// The platform is still busy after the time it was given.
    Busy,
    /// The platform says that it failed: the status, whose meaning depends on the table.
    Status(u64),
}

/// EXECUTE_OPERATION, CHECK_BUSY_STATUS and GET_COMMAND_STATUS, which have the same numbers in
/// both kinds of table.
pub(crate) const COMMAND: [u8; 3] = [5, 6, 7];

pub(crate) fn parse(
    bytes: &[u8],
    signature: [u8; 4],
    set: InstructionSet,
) -> Result<(u8, Program<'_>), TableError> {
    let (_, table) = TableHeader::parse(bytes, signature)?;
    let head: Head = table::read(table, size_of::<TableHeader>(), "action table header")?;
    let entries = InstructionEntry::slice(table, FIRST_ENTRY, head.entry_count)?;
    Ok((head.flags, Program::new(entries, set)))
}

pub(crate) fn encode(
    signature: [u8; 4],
    oem: &Oem,
    flags: u8,
    entries: &[InstructionEntry],
    buffer: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    const REVISION: u8 = 1;
    let mut table = TableBuilder::new(buffer, signature, REVISION, oem)?;
    table.put(&Head {
        header_length: (FIRST_ENTRY as u32).into(),
        flags,
        reserved: [0; 3],
        entry_count: (entries.len() as u32).into(),
    })?;
    table.put(entries)?;
    table.finish()
}

/// Runs EXECUTE_OPERATION, waits while CHECK_BUSY_STATUS says so, and asks GET_COMMAND_STATUS.
pub(crate) fn execute<P: Platform>(
    program: &Program<'_>,
    left: &mut Limits,
    platform: &mut P,
) -> Result<(), CommandError<P::Error>> {
    const POLL_MICROSECONDS: u64 = 1000;
    const BUSY: u64 = 1 << 0;
    let [execute, check_busy, get_status] = COMMAND;
    program.run_within(execute, 0, left, platform)?;
    while program.run_within(check_busy, 0, left, platform)? & BUSY != 0 {
        let microseconds = left.microseconds.checked_sub(POLL_MICROSECONDS);
        left.microseconds = microseconds.ok_or(CommandError::Busy)?;
        platform.stall(POLL_MICROSECONDS);
    }
    match program.run_within(get_status, 0, left, platform)? {
        0 => Ok(()),
        status => Err(CommandError::Status(status)),
    }
}

impl<E> From<RunError<E>> for CommandError<E> {
    fn from(error: RunError<E>) -> Self {
        Self::Run(error)
    }
}

impl<E: fmt::Display> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => write!(f, "{error}"),
            Self::Busy => f.write_str("the platform is still busy; try again later"),
            Self::Status(status) => write!(f, "the platform reports status {status}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for CommandError<E> {}
