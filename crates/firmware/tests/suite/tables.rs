//! The tables in the window: byte for byte as another encoder has them, and as Linux wants them.

use std::ops::Range;

use acpi_tables::Aml;
use acpi_tables::bert::BERT;
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::hest::{
    EnabledStatus, GenericHardwareSourceV2, HEST, NotificationStructure, NotificationType,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use apei::{
    BufferTooSmall, Einj, EinjAction, GenericAddress, GenericSourceV2, Hest, Instruction,
    TriggerTable,
};
use control::layout::{DOORBELL, EINJ, FIRMWARE, FIRMWARE_LENGTH, NOTIFY_INTID};
use firmware::tables::OEM;
use firmware::window::{self, BLOCK_LENGTH};
use firmware::{Source, tables};

use crate::guest::{Guest, fresh_window};

/// A table of the other encoder, as if our tool had made it.
fn oracle(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes[28..32].copy_from_slice(&OEM.creator_id);
    bytes[32..36].copy_from_slice(&OEM.creator_revision.get().to_le_bytes());
    bytes[9] = 0;
    bytes[9] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    bytes
}

fn cell(offset: usize) -> GAS {
    let address = FIRMWARE + offset as u64;
    GAS::new(
        AddressSpace::SystemMemory,
        64,
        0,
        AccessSize::QwordAccess,
        address,
    )
}

#[test]
fn the_root_pointer_and_its_table_agree_with_the_oracle() {
    let mut guest = Guest::new();
    let mut theirs = Vec::new();
    Rsdp::new(OEM.id, FIRMWARE + 0x40).to_aml_bytes(&mut theirs);
    assert_eq!(guest.bytes(FIRMWARE, 36), theirs);

    let mut xsdt = XSDT::new(OEM.id, OEM.table_id, OEM.revision.get());
    for offset in [0x100, 0x280, 0x300] {
        xsdt.add_entry(FIRMWARE + offset);
    }
    let xsdt = oracle(&xsdt);
    assert_eq!(guest.bytes(FIRMWARE + 0x40, xsdt.len()), xsdt);
}

#[test]
fn hest_agrees_with_the_oracle() {
    let mut hest = HEST::new(OEM.id, OEM.table_id, OEM.revision.get());
    let notifications = [
        (NotificationType::Armv8Sea, 0),
        (NotificationType::ExternalGsiv, 132),
        (NotificationType::Armv8Sei, 0),
    ];
    for (index, (kind, vector)) in notifications.into_iter().enumerate() {
        hest.add_structure(
            GenericHardwareSourceV2::new(index as u16, EnabledStatus::Enabled)
                .num_records(1)
                .max_sections(1)
                .max_raw_length(4096)
                .error_status_address(cell(0x1000 + 8 * index))
                .notification(NotificationStructure::new(kind).vector(vector))
                .error_status_block_len(4096)
                .read_ack_register(cell(0x1040 + 8 * index))
                .read_ack_preserve(!1)
                .read_ack_write(1),
        );
    }
    assert_eq!(Guest::new().table(*b"HEST"), oracle(&hest));
}

#[test]
fn bert_agrees_with_the_oracle() {
    let revision = OEM.revision.get();
    let bert = BERT::new(OEM.id, OEM.table_id, revision, 4096, FIRMWARE + 0x5000);
    assert_eq!(Guest::new().table(*b"BERT"), oracle(&bert));
}

fn all_sources(buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
    tables::hest(Source::ALL, buffer)
}

#[test]
fn tables_do_not_fit_into_less_than_they_need() {
    for (signature, encode) in [
        (*b"HEST", all_sources as fn(&mut [u8]) -> _),
        (*b"BERT", tables::bert),
        (*b"EINJ", tables::einj),
    ] {
        let table = Guest::new().table(signature);
        let mut buffer = vec![0; table.len()];
        assert_eq!(encode(&mut buffer), Ok(table.len()));
        assert_eq!(buffer, table);
        assert!(encode(&mut buffer[1..]).is_err());
    }
}

/// The HEST's sources.
fn sources(hest: &[u8]) -> Vec<GenericSourceV2> {
    let sources = Hest::parse(hest).unwrap().sources();
    let source = |source| match source {
        Ok(apei::Source::GenericV2(source)) => *source,
        other => panic!("{other:?}"),
    };
    sources.map(source).collect()
}

/// Linux: no register without an address, in memory, with a stated access that it fits into.
fn check_register(register: &GenericAddress) {
    assert_ne!(register.address.get(), 0);
    assert_eq!(register.space, apei::AddressSpace::MEMORY);
    assert!((1..=4).contains(&register.access_size), "{register:?}");
    let access_bits = 8u32 << (register.access_size - 1);
    assert!(u32::from(register.bit_width) + u32::from(register.bit_offset) <= access_bits);
    assert_eq!(register.address.get() % u64::from(access_bits / 8), 0);
    assert_eq!(register.register().unwrap().width.bits(), access_bits);
}

#[test]
fn linux_takes_every_error_source() {
    let hest = Guest::new().table(*b"HEST");
    assert_eq!(hest.len(), 40 + 3 * 92);
    let sources = sources(&hest);
    assert_eq!(sources.len(), Source::ALL.len());
    for (index, source) in sources.iter().enumerate() {
        check_register(&source.source.error_status_address);
        check_register(&source.read_ack.register);
        let source = &source.source;
        assert_eq!(
            usize::from(source.source_id.get()),
            index,
            "identifiers must differ"
        );
        assert_eq!(source.related_source_id.get(), 0xffff);
        assert_eq!(source.enabled, 1);
        assert_eq!(source.notification.length, 28);
        // At least a header, at most 64 KiB.
        assert!((20..=0x1_0000).contains(&source.error_status_block_length.get()));
        assert!(source.records_to_preallocate.get() >= 1);
        assert!(source.max_sections_per_record.get() >= 1);
    }
    assert_eq!(sources[1].source.notification.vector.get(), NOTIFY_INTID);
}

#[test]
fn linux_takes_the_injection_table() {
    let bytes = Guest::new().table(*b"EINJ");
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert!([12, 48].contains(&u32_at(36)), "header length");
    assert_eq!(u32_at(44) as usize, (bytes.len() - 48) / 32, "entry count");
    assert_eq!((bytes.len() - 48) % 32, 0);
    let einj = Einj::parse(&bytes).unwrap();
    for entry in einj.program.entries() {
        check_register(&entry.register);
        assert!(entry.instruction.0 <= Instruction::NOOP.0);
        assert_eq!(entry.reserved, 0);
    }
    // Each once: Linux runs all entries of an action.
    for action in 0..=9 {
        assert_eq!(einj.program.action(action).count(), 1, "action {action}");
    }
    let parameters = einj.parameter_address().unwrap();
    assert_eq!(parameters, window::address(window::PARAMETERS));
    assert!(parameters.is_multiple_of(8), "Linux's structure is aligned");
    let registers = einj
        .program
        .entries()
        .iter()
        .filter(|entry| entry.action != EinjAction::SET_ERROR_TYPE_WITH_ADDRESS);
    for entry in registers {
        assert_eq!(entry.register.address.get() & !0xffff, EINJ);
    }
}

#[test]
fn linux_takes_the_trigger_table() {
    let window = fresh_window();
    let table = &window[window::TRIGGER..];
    let u32_at = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().unwrap());
    let (header_length, table_length, entries) = (u32_at(0), u32_at(8), u32_at(12));
    assert_eq!(header_length, 16);
    assert!((header_length..=4096).contains(&table_length));
    assert_eq!(entries, (table_length - header_length) / 32);
    // None, because some versions of Linux look for them in the wrong place.
    assert!(
        TriggerTable::parse(table)
            .unwrap()
            .program
            .entries()
            .is_empty()
    );
}

/// What Linux reserves or maps, and what it must not share: every part of the window.
fn parts() -> Vec<Range<usize>> {
    let mut parts = vec![
        0..36,
        0x40..0x40 + 36 + 3 * 8,
        0x100..0x100 + 40 + 3 * 92,
        0x280..0x280 + 48,
        0x300..0x300 + 48 + 10 * 32,
        // The structure has grown to 56 bytes and may grow on.
        window::PARAMETERS..window::PARAMETERS + 128,
        window::TRIGGER..window::TRIGGER + 16,
        window::BOOT_ERROR..window::BOOT_ERROR + BLOCK_LENGTH,
    ];
    for source in Source::ALL.iter().copied() {
        parts.push(window::status_address(source)..window::status_address(source) + 8);
        parts.push(window::read_ack(source)..window::read_ack(source) + 8);
        parts.push(window::block(source)..window::block(source) + BLOCK_LENGTH);
    }
    parts
}

#[test]
fn the_parts_of_the_window_do_not_overlap() {
    let mut parts = parts();
    parts.sort_by_key(|part| part.start);
    for pair in parts.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:x?}");
    }
    assert!(parts.last().unwrap().end <= window::LENGTH);
}

#[test]
fn all_is_quiet_before_a_guest_runs() {
    let window = fresh_window();
    let u64_at = |at: usize| u64::from_le_bytes(window[at..at + 8].try_into().unwrap());
    for source in Source::ALL.iter().copied() {
        let block = window::block(source);
        assert_eq!(
            u64_at(window::status_address(source)),
            FIRMWARE + block as u64
        );
        assert_eq!(u64_at(window::read_ack(source)), 1);
    }
    // Everything else but the tables is 0, blocks and BERT's region included.
    let mut rest = window.clone();
    for part in parts().iter().filter(|part| part.len() < BLOCK_LENGTH) {
        rest[part.clone()].fill(0);
    }
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[test]
fn registers_and_memory_are_apart() {
    let window = FIRMWARE..FIRMWARE + FIRMWARE_LENGTH;
    assert!(!window.contains(&EINJ) && !window.contains(&DOORBELL));
}
