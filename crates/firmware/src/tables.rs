//! The ACPI tables about errors, and the window as it is before a guest runs.
//!
//! Registers always state the size of their access and fill it: Linux refuses a register that
//! leaves it out.

use apei::{
    Bert, BufferTooSmall, EinjAction, GenericAddress, GenericSource, GenericSourceV2, HestBuilder,
    Instruction, InstructionEntry, Notification, NotificationKind, Oem, ReadAck, Source as Entry,
    TableHeader, Width,
};
use control::layout::{EINJ, NOTIFY_INTID};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::Source;
use crate::einj::{self, register};
use crate::window::{self, BLOCK_LENGTH};

/// Who made these tables.
pub const OEM: Oem = Oem {
    id: *b"SEAWOR",
    table_id: *b"MONITOR ",
    revision: U32::new(1),
    creator_id: *b"SEAW",
    creator_revision: U32::new(1),
};

/// How a source is acknowledged: this bit of its register is set, the others stay.
pub(crate) const READ_ACK: u64 = 1 << 0;

/// Where each table lies in the window.
mod offset {
    pub(super) const RSDP: usize = 0x000;
    pub(super) const XSDT: usize = 0x040;
    pub(super) const HEST: usize = 0x100;
    pub(super) const BERT: usize = 0x280;
    pub(super) const EINJ: usize = 0x300;
    pub(super) const END: usize = 0x1000;
}

/// The root pointer: ACPI 5.2.5.3.
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
struct Rsdp {
    signature: [u8; 8],
    checksum: u8,
    oem_id: [u8; 6],
    revision: u8,
    rsdt_address: U32,
    length: U32,
    xsdt_address: U64,
    extended_checksum: u8,
    reserved: [u8; 3],
}

const _: () = assert!(size_of::<Rsdp>() == 36);

/// Bytes that the checksum of the first version covers.
const RSDP_FIRST_VERSION: usize = 20;

/// Writes all of the window as it is before a guest runs: the tables, every source acknowledged
/// and with an empty block.
///
/// # Panics
///
/// If `window` is shorter than [`window::LENGTH`].
pub fn write(window: &mut [u8]) {
    let window = &mut window[..window::LENGTH];
    window.fill(0);
    write_tables(window).expect("the tables have room before the first cell");
    for source in Source::ALL.iter().copied() {
        put64(
            window,
            window::status_address(source),
            window::address(window::block(source)),
        );
        put64(window, window::read_ack(source), READ_ACK);
    }
    let trigger = einj::trigger_table();
    window[window::TRIGGER..][..trigger.len()].copy_from_slice(&trigger);
}

fn write_tables(window: &mut [u8]) -> Result<(), BufferTooSmall> {
    hest(Source::ALL, &mut window[offset::HEST..offset::BERT])?;
    bert(&mut window[offset::BERT..offset::EINJ])?;
    einj(&mut window[offset::EINJ..offset::END])?;
    let tables = [offset::HEST, offset::BERT, offset::EINJ].map(|at| U64::new(window::address(at)));
    let xsdt = &mut window[offset::XSDT..offset::HEST];
    TableHeader::encode(*b"XSDT", 1, &OEM, tables.as_bytes(), xsdt)?;
    window[offset::RSDP..][..size_of::<Rsdp>()].copy_from_slice(rsdp().as_bytes());
    Ok(())
}

fn put64(window: &mut [u8], at: usize, value: u64) {
    window[at..][..8].copy_from_slice(&value.to_le_bytes());
}

fn rsdp() -> Rsdp {
    let mut rsdp = Rsdp {
        signature: *b"RSD PTR ",
        oem_id: OEM.id,
        revision: 2,
        length: (size_of::<Rsdp>() as u32).into(),
        xsdt_address: window::address(offset::XSDT).into(),
        ..Rsdp::new_zeroed()
    };
    rsdp.checksum = checksum(&rsdp.as_bytes()[..RSDP_FIRST_VERSION]);
    rsdp.extended_checksum = checksum(rsdp.as_bytes());
    rsdp
}

/// What makes the sum of `bytes`, in which it is 0, 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}

/// Writes the HEST with these sources to the start of `buffer` and returns its length in bytes.
///
/// # Errors
///
/// [`BufferTooSmall`].
pub fn hest(sources: &[Source], buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let mut hest = HestBuilder::new(buffer, &OEM)?;
    for source in sources.iter().copied() {
        hest.add(&Entry::GenericV2(&generic_source(source)))?;
    }
    hest.finish()
}

fn generic_source(source: Source) -> GenericSourceV2 {
    let kind = match source {
        Source::Sea => NotificationKind::SEA,
        Source::Gsiv => NotificationKind::GSIV,
        Source::Sei => NotificationKind::SEI,
    };
    let vector = match source {
        Source::Gsiv => NOTIFY_INTID,
        Source::Sea | Source::Sei => 0,
    };
    let notification = Notification {
        vector: vector.into(),
        ..Notification::new(kind)
    };
    let cell = |offset| GenericAddress::memory(window::address(offset), Width::Bits64);
    let source_entry = GenericSource::new(
        source.id(),
        notification,
        cell(window::status_address(source)),
        BLOCK_LENGTH as u32,
    );
    GenericSourceV2::new(
        source_entry,
        ReadAck {
            register: cell(window::read_ack(source)),
            preserve: (!READ_ACK).into(),
            write: READ_ACK.into(),
        },
    )
}

/// Writes the BERT to the start of `buffer` and returns its length in bytes.
///
/// # Errors
///
/// [`BufferTooSmall`].
pub fn bert(buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let bert = Bert {
        region_length: (BLOCK_LENGTH as u32).into(),
        region_address: window::address(window::BOOT_ERROR).into(),
    };
    bert.encode(&OEM, buffer)
}

/// Writes the EINJ to the start of `buffer` and returns its length in bytes.
///
/// # Errors
///
/// [`BufferTooSmall`].
pub fn einj(buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
    use EinjAction as Action;
    use Instruction as I;
    const BUSY: u64 = 1 << 0;
    let on = |action, instruction, offset| {
        let register = GenericAddress::memory(EINJ + offset, Width::Bits64);
        InstructionEntry::on(action, instruction, register)
    };
    let error_type = GenericAddress::memory(window::address(window::PARAMETERS), Width::Bits32);
    let entries = [
        on(
            Action::BEGIN_INJECTION_OPERATION,
            I::WRITE_REGISTER_VALUE,
            register::OPERATION,
        )
        .with_value(1),
        on(
            Action::GET_TRIGGER_ERROR_ACTION_TABLE,
            I::READ_REGISTER,
            register::TRIGGER_TABLE,
        ),
        on(
            Action::SET_ERROR_TYPE,
            I::WRITE_REGISTER,
            register::ERROR_TYPE,
        ),
        on(
            Action::GET_ERROR_TYPE,
            I::READ_REGISTER,
            register::CAPABILITIES,
        ),
        on(
            Action::END_OPERATION,
            I::WRITE_REGISTER_VALUE,
            register::OPERATION,
        )
        .with_value(1),
        on(
            Action::EXECUTE_OPERATION,
            I::WRITE_REGISTER_VALUE,
            register::EXECUTE,
        )
        .with_value(1),
        on(
            Action::CHECK_BUSY_STATUS,
            I::READ_REGISTER_VALUE,
            register::BUSY,
        )
        .with_value(BUSY)
        .with_mask(BUSY),
        on(
            Action::GET_COMMAND_STATUS,
            I::READ_REGISTER,
            register::STATUS,
        ),
        // The structure's first field; the operating system finds the others by its address.
        InstructionEntry::on(
            Action::SET_ERROR_TYPE_WITH_ADDRESS,
            I::WRITE_REGISTER,
            error_type,
        )
        .with_mask(Width::Bits32.mask()),
        on(
            Action::GET_EXECUTE_OPERATION_TIMINGS,
            I::READ_REGISTER,
            register::TIMINGS,
        ),
    ];
    apei::Einj::encode(&OEM, &entries, buffer)
}
