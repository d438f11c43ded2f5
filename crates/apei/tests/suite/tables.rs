//! Byte for byte: tables lie as ACPI says, and as an encoder that shares nothing with ours says.

use acpi_tables::gas::{AccessSize, AddressSpace as OracleSpace, GAS};
use acpi_tables::hest::{
    EnabledStatus, ErrorSeverity, FirmwareFirst, GenericErrorStatus, GenericHardwareSource,
    GenericHardwareSourceV2, HEST, NotificationStructure, NotificationType, PciDevice,
    PcieAerBridge, PcieAerDevice, PcieAerRootPort,
};
use acpi_tables::{Aml, bert::BERT, xsdt::XSDT};
use apei::{
    AddressSpace, BadRegister, Bert, BufferTooSmall, Einj, EinjAction, ErrorTypes, Erst,
    ErstAction, GenericAddress, GenericSource, GenericSourceV2, Hest, HestBuilder, Instruction,
    InstructionEntry, Notification, NotificationKind, Oem, ReadAck, Register,
    SetErrorTypeWithAddress, Source, TableError, TableHeader, TargetFlags, TriggerTable, Width,
};
use zerocopy::IntoBytes;

use crate::machine::OEM;

fn bytes(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (offset, part) in parts {
        bytes[*offset..offset + part.len()].copy_from_slice(part);
    }
    bytes
}

fn oracle(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Makes the sum of all bytes 0, as a table's must be.
fn seal(table: &mut [u8]) {
    table[9] = 0;
    table[9] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

fn hest(sources: &[Source<'_>]) -> Vec<u8> {
    let mut buffer = vec![0xaa; 4096];
    let mut builder = HestBuilder::new(&mut buffer, &OEM).unwrap();
    for source in sources {
        builder.add(source).unwrap();
    }
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn oracle_notification() -> NotificationStructure {
    NotificationStructure::new(NotificationType::Armv8Sea)
        .conf_write_en(0x1234)
        .poll_interval_ms(0x5678_90ab)
        .vector(0xcdef_1234)
        .polling_threshold_value(0x1678_9abc)
        .polling_threshold_window_ms(0x2ef0_1234)
        .error_threshold_value(0x3678_9abc)
        .error_threshold_window_ms(0x4ef0_1234)
}

fn our_source() -> GenericSource {
    GenericSource {
        source_type: 9.into(),
        source_id: 0x1234.into(),
        related_source_id: 0xffff.into(),
        flags: 0,
        enabled: 1,
        records_to_preallocate: 0x0123_4567.into(),
        max_sections_per_record: 0x89ab_cdef.into(),
        max_raw_data_length: 0x2233_4455.into(),
        error_status_address: GenericAddress {
            space: AddressSpace(6),
            bit_width: 32,
            bit_offset: 16,
            access_size: 3,
            address: 0x1_89ab_cdef.into(),
        },
        notification: Notification {
            kind: NotificationKind::SEA,
            length: 28,
            configuration_write_enable: 0x1234.into(),
            poll_interval: 0x5678_90ab.into(),
            vector: 0xcdef_1234.into(),
            polling_threshold: 0x1678_9abc.into(),
            polling_threshold_window: 0x2ef0_1234.into(),
            error_threshold: 0x3678_9abc.into(),
            error_threshold_window: 0x4ef0_1234.into(),
        },
        error_status_block_length: 0xdead_beef.into(),
    }
}

fn our_source_v2() -> GenericSourceV2 {
    GenericSourceV2::new(
        our_source(),
        ReadAck {
            register: GenericAddress::memory(0x1234_0123_4568, Width::Bits64),
            preserve: 0x9876_4321_0123_4567.into(),
            write: 0x1122_3344_5566_7788.into(),
        },
    )
}

/// HEST of every kind of source that the oracle knows.
fn oracle_hest() -> Vec<u8> {
    let status_address = GAS::new(
        OracleSpace::PciBarTarget,
        32,
        16,
        AccessSize::DwordAccess,
        0x1_89ab_cdef,
    );
    let mut hest = HEST::new(OEM.id, OEM.table_id, OEM.revision.get());
    hest.add_structure(PcieAerRootPort::new_global().root_error_command(0xbaad));
    hest.add_structure(
        GenericHardwareSource::new(0x1234, EnabledStatus::Enabled)
            .num_records(0x0123_4567)
            .max_sections(0x89ab_cdef)
            .max_raw_length(0x2233_4455)
            .error_status_address(status_address)
            .notification(oracle_notification())
            .error_status_block_len(0xdead_beef),
    );
    hest.add_structure(PcieAerDevice::new_root_port(
        FirmwareFirst::Enabled,
        PciDevice::new(0xff, 0x1f, 0x7),
    ));
    hest.add_structure(
        GenericHardwareSourceV2::new(0x1234, EnabledStatus::Enabled)
            .num_records(0x0123_4567)
            .max_sections(0x89ab_cdef)
            .max_raw_length(0x2233_4455)
            .error_status_address(status_address)
            .notification(oracle_notification())
            .error_status_block_len(0xdead_beef)
            .read_ack_register(GAS::new(
                OracleSpace::SystemMemory,
                64,
                0,
                AccessSize::QwordAccess,
                0x1234_0123_4568,
            ))
            .read_ack_preserve(0x9876_4321_0123_4567)
            .read_ack_write(0x1122_3344_5566_7788),
    );
    hest.add_structure(PcieAerBridge::new_global().secondary_aer_cap_ctrl(0xb157));
    oracle(&hest)
}

#[test]
fn hest_agrees_with_the_oracle_in_both_directions() {
    let theirs = oracle_hest();
    let hest_table = Hest::parse(&theirs).unwrap();
    assert_eq!(hest_table.count(), 5);
    let sources: Vec<_> = hest_table.sources().map(Result::unwrap).collect();
    assert_eq!(sources[1], Source::Generic(&our_source()));
    assert_eq!(sources[3], Source::GenericV2(&our_source_v2()));
    assert_eq!(sources[1].generic(), Some(&our_source()));
    assert_eq!(sources[3].generic(), Some(&our_source_v2().source));
    let others: Vec<_> = [0, 2, 4]
        .map(|index| match sources[index] {
            Source::Other { source_type, bytes } => (source_type, bytes.len()),
            other => panic!("{other:?}"),
        })
        .into();
    assert_eq!(others, [(6, 48), (7, 44), (8, 56)]);
    assert_eq!(sources[0].generic(), None);

    let ours = [
        sources[0],
        Source::Generic(&our_source()),
        sources[2],
        Source::GenericV2(&our_source_v2()),
        sources[4],
    ];
    assert_eq!(hest(&ours), theirs);
}

#[test]
fn bert_agrees_with_the_oracle_in_both_directions() {
    let theirs = oracle(&BERT::new(
        OEM.id,
        OEM.table_id,
        OEM.revision.get(),
        0x1020_3040,
        0x5060_7080_90a0_b0c0,
    ));
    let bert = Bert {
        region_length: 0x1020_3040.into(),
        region_address: 0x5060_7080_90a0_b0c0.into(),
    };
    assert_eq!(Bert::parse(&theirs), Ok(bert));
    let mut ours = [0xaa; Bert::TABLE_LENGTH];
    assert_eq!(bert.encode(&OEM, &mut ours), Ok(48));
    assert_eq!(ours.as_slice(), theirs);
    assert_eq!(
        bert.encode(&OEM, &mut ours[..47]),
        Err(BufferTooSmall {
            needed: 48,
            available: 47
        })
    );
}

/// The oracle's data entries are no use: their section type has two bytes instead of sixteen.
#[test]
fn the_head_of_a_status_block_agrees_with_the_oracle() {
    for (corrected, uncorrected) in [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (3, 3)] {
        let head = GenericErrorStatus::new(corrected, uncorrected, ErrorSeverity::Correctable);
        let theirs = oracle(&head);
        let block = cper::StatusBlock::parse(&theirs).unwrap();
        let header = block.header();
        assert_eq!(header.is_pending(), corrected + uncorrected > 0);
        assert_eq!(header.has_corrected(), corrected > 0);
        assert_eq!(header.has_uncorrected(), uncorrected > 0);
        assert_eq!(block.severity(), cper::Severity::Corrected);
    }
}

/// The same, against the offsets in the specification rather than against another program.
#[test]
fn generic_source_v2() {
    let gas = |address: u64| [&[0, 64, 0, 4][..], &address.to_le_bytes()].concat();
    let expected = bytes(
        92,
        &[
            (0, &[10, 0]),
            (2, &[7, 0]),
            (4, &[0xff, 0xff]),
            (7, &[1]),
            (8, &[1]),
            (12, &[1]),
            (16, &[0, 4]),
            (20, &gas(0x4000_0000)),
            (32, &[8, 28]),
            (60, &[0, 4]),
            (64, &gas(0x4000_0008)),
            (76, &(!1u64).to_le_bytes()),
            (84, &[1]),
        ],
    );
    let source = GenericSourceV2::new(
        GenericSource::new(
            7,
            Notification::new(NotificationKind::SEA),
            GenericAddress::memory(0x4000_0000, Width::Bits64),
            1024,
        ),
        ReadAck {
            register: GenericAddress::memory(0x4000_0008, Width::Bits64),
            preserve: (!1).into(),
            write: 1.into(),
        },
    );
    assert_eq!(source.as_bytes(), expected);
    assert!(source.source.is_enabled());
    assert_eq!(
        format!("{:?}", source.source.notification.kind),
        "NotificationKind(8: SEA)"
    );
}

#[test]
fn every_kind_of_source_is_as_long_as_acpi_says() {
    let machine_check = |source_type: u8, length: usize, banks_at: usize, banks: u8| {
        bytes(
            length + 28 * usize::from(banks),
            &[(0, &[source_type]), (banks_at, &[banks])],
        )
    };
    let structures = [
        machine_check(0, 40, 32, 3),
        machine_check(1, 48, 44, 2),
        bytes(20, &[(0, &[2])]),
        machine_check(11, 48, 44, 0),
        // From type 12 on, the length follows the type.
        bytes(33, &[(0, &[12, 0, 33])]),
        bytes(4, &[(0, &[0xff, 0xff, 4])]),
    ];
    let sources: Vec<_> = structures
        .iter()
        .map(|bytes| Source::Other {
            source_type: u16::from_le_bytes([bytes[0], bytes[1]]),
            bytes,
        })
        .collect();
    let table = hest(&sources);
    let found: Result<Vec<_>, _> = Hest::parse(&table).unwrap().sources().collect();
    assert_eq!(found.unwrap(), sources);
}

#[test]
fn an_unknown_source_hides_those_after_it_but_not_those_before() {
    let v2 = our_source_v2();
    for (structure, error) in [
        (
            vec![5, 0, 0, 0],
            TableError::UnknownSource { index: 1, kind: 5 },
        ),
        (
            vec![13, 0, 3, 0],
            TableError::SourceLength {
                index: 1,
                length: 3,
            },
        ),
        (
            vec![13, 0, 5, 0],
            TableError::Truncated {
                what: "error source",
                offset: 132,
                needed: 5,
                available: 4,
            },
        ),
    ] {
        let other = Source::Other {
            source_type: 0,
            bytes: &structure,
        };
        let table = hest(&[Source::GenericV2(&v2), other]);
        let found: Vec<_> = Hest::parse(&table).unwrap().sources().collect();
        assert_eq!(found, [Ok(Source::GenericV2(&v2)), Err(error)]);
    }
    let text = TableError::UnknownSource { index: 1, kind: 5 }.to_string();
    assert_eq!(
        text,
        "error source 1 has unknown type 5; those after it cannot be found"
    );
}

#[test]
fn tables_are_checked_as_a_whole() {
    let good = hest(&[]);
    assert!(Hest::parse(&good).is_ok());
    let refused = |table: &[u8]| Hest::parse(table).unwrap_err();

    let mut table = good.clone();
    table[30] ^= 0x10;
    assert!(matches!(refused(&table), TableError::Checksum { .. }));

    table.clone_from(&good);
    table[..4].copy_from_slice(b"BERT");
    assert_eq!(
        refused(&table).to_string(),
        "this is not the table \"HEST\" but \"BERT\""
    );

    table.clone_from(&good);
    table[4] = 35;
    seal(&mut table);
    assert_eq!(refused(&table), TableError::Length(35));
    table[4] = 36;
    seal(&mut table[..36]);
    assert_eq!(
        refused(&table),
        TableError::Truncated {
            what: "error source count",
            offset: 36,
            needed: 4,
            available: 0
        }
    );
    table[4] = 41;
    assert!(matches!(
        refused(&table),
        TableError::Truncated { what: "table", .. }
    ));

    // What lies behind the table is not part of it.
    let mut longer = good.clone();
    longer.extend([1, 2, 3]);
    assert!(Hest::parse(&longer).is_ok());
}

#[test]
fn a_table_of_any_kind() {
    let mut theirs = XSDT::new(OEM.id, OEM.table_id, OEM.revision.get());
    theirs.add_entry(0x1122_3344_5566_7788);
    let theirs = oracle(&theirs);
    let body = 0x1122_3344_5566_7788u64.to_le_bytes();
    let mut ours = [0xaa; 44];
    let length = TableHeader::encode(*b"XSDT", 1, &OEM, &body, &mut ours);
    assert_eq!(length, Ok(44));
    assert_eq!(ours.as_slice(), theirs);
    assert_eq!(
        TableHeader::encode(*b"XSDT", 1, &OEM, &body, &mut ours[..43]),
        Err(BufferTooSmall {
            needed: 44,
            available: 43
        })
    );
}

fn entries() -> [InstructionEntry; 3] {
    let register = GenericAddress::memory(0x1122_3344_5566_7788, Width::Bits64);
    [
        InstructionEntry::on(
            EinjAction::EXECUTE_OPERATION,
            Instruction::WRITE_REGISTER_VALUE,
            register,
        )
        .with_value(0x0102_0304_0506_0708)
        .with_mask(0xff00)
        .with_register_preserved(),
        InstructionEntry::new(EinjAction::END_OPERATION, Instruction::NOOP),
        InstructionEntry::on(
            EinjAction::SET_ERROR_TYPE_WITH_ADDRESS,
            Instruction::WRITE_REGISTER,
            GenericAddress::memory(0xc000_1000, Width::Bits32),
        ),
    ]
}

const ENTRIES: [(usize, &[u8]); 9] = [
    (
        0,
        &[
            5, 3, 1, 0, 0, 64, 0, 4, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        ],
    ),
    (16, &[8, 7, 6, 5, 4, 3, 2, 1]),
    (24, &[0, 0xff]),
    (32, &[4, 4]),
    (64, &[8, 2]),
    (68, &[0, 32, 0, 3]),
    (72, &[0, 0x10, 0, 0xc0]),
    (80, &[0]),
    (88, &[0xff; 8]),
];

#[test]
fn einj_and_erst() {
    type Encode = fn(&Oem, &[InstructionEntry], &mut [u8]) -> Result<usize, BufferTooSmall>;
    for (signature, encode) in [
        (b"EINJ", Einj::encode as Encode),
        (b"ERST", Erst::encode as Encode),
    ] {
        let mut expected = bytes(
            48 + 96,
            &[
                (0, signature),
                (4, &[144]),
                (8, &[1]),
                (10, OEM.as_bytes()),
                (36, &[48]),
                (44, &[3]),
                (48, &bytes(96, &ENTRIES)),
            ],
        );
        seal(&mut expected);
        let mut buffer = [0xaa; 144];
        assert_eq!(encode(&OEM, &entries(), &mut buffer), Ok(144));
        assert_eq!(buffer.as_slice(), expected);
        let program = match signature {
            b"EINJ" => Einj::parse(&buffer).unwrap().program,
            _ => Erst::parse(&buffer).unwrap().program,
        };
        assert_eq!(program.entries(), entries());
        assert!(program.has(ErstAction::EXECUTE_OPERATION) && !program.has(0xff));

        // Firmware disagrees on the header's length; it does not matter.
        buffer[36] = 12;
        seal(&mut buffer);
        assert!(Einj::parse(&buffer).is_ok() || Erst::parse(&buffer).is_ok());
        // One entry more than there is.
        buffer[44] = 4;
        seal(&mut buffer);
        let error = Einj::parse(&buffer)
            .and(Ok(()))
            .or(Erst::parse(&buffer).and(Ok(())));
        assert!(error.is_err());
    }
    let mut buffer = [0; 144];
    Einj::encode(&OEM, &entries(), &mut buffer).unwrap();
    assert_eq!(
        Einj::parse(&buffer).unwrap().parameter_address(),
        Some(0xc000_1000)
    );
}

#[test]
fn trigger_table() {
    let mut buffer = [0xaa; 128];
    assert_eq!(TriggerTable::encode(&entries(), &mut buffer), Ok(112));
    let expected = bytes(
        112,
        &[
            (0, &[16]),
            (4, &[1]),
            (8, &[112]),
            (12, &[3]),
            (16, &bytes(96, &ENTRIES)),
        ],
    );
    assert_eq!(&buffer[..112], expected);
    let table = TriggerTable::parse(&buffer).unwrap();
    assert_eq!(
        (table.revision, table.program.entries()),
        (1, &entries()[..])
    );
    buffer[12] = 4;
    assert!(TriggerTable::parse(&buffer).is_err());
}

#[test]
fn set_error_type_with_address() {
    let error = SetErrorTypeWithAddress::in_memory(
        ErrorTypes::MEMORY_UNCORRECTABLE,
        0x1122_3344_5566_7788,
        !0xfff,
    );
    let expected = bytes(
        36,
        &[
            (0, &[0x10]),
            (8, &[2]),
            (16, &0x1122_3344_5566_7788u64.to_le_bytes()),
            (24, &(!0xfffu64).to_le_bytes()),
        ],
    );
    assert_eq!(error.as_bytes(), expected);
    assert_eq!(error.memory(), Some((0x1122_3344_5566_7788, !0xfff)));
    let processor = SetErrorTypeWithAddress {
        flags: (TargetFlags::PROCESSOR | TargetFlags::PCIE).bits().into(),
        vendor_extension_offset: 0x41.into(),
        processor_id: 0x42.into(),
        pcie_device: 0x43.into(),
        ..SetErrorTypeWithAddress::new(ErrorTypes::PROCESSOR_FATAL)
    };
    let expected = bytes(
        36,
        &[
            (0, &[4]),
            (4, &[0x41]),
            (8, &[5]),
            (12, &[0x42]),
            (32, &[0x43]),
        ],
    );
    assert_eq!(processor.as_bytes(), expected);
    assert_eq!(processor.memory(), None);
    assert_eq!(ErrorTypes::CXL_MEMORY_FATAL.bits(), 0x2_0000);
    assert_eq!(ErrorTypes::VENDOR.bits(), 0x8000_0000);
}

#[test]
fn registers_that_can_be_accessed() {
    let gas = |bit_width, bit_offset, access_size, address: u64| {
        GenericAddress {
            space: AddressSpace::IO,
            bit_width,
            bit_offset,
            access_size,
            address: address.into(),
        }
        .register()
        .map(|Register { width, .. }| width)
    };
    let width = |bit_width, bit_offset, access_bits| {
        Err(BadRegister::Width {
            bit_width,
            bit_offset,
            access_bits,
        })
    };
    assert_eq!(gas(32, 0, 3, 0x1000), Ok(Width::Bits32));
    assert_eq!(gas(8, 4, 2, 0x1002), Ok(Width::Bits16));
    assert_eq!(gas(1, 63, 4, 0x1000), Ok(Width::Bits64));
    assert_eq!(gas(8, 0, 4, 0x1000), Ok(Width::Bits64));
    // Put up with: no access size, or one that is too small for a whole register.
    assert_eq!(gas(1, 0, 0, 0x1001), Ok(Width::Bits8));
    assert_eq!(gas(20, 13, 0, 0x1000), Ok(Width::Bits64));
    assert_eq!(gas(64, 0, 3, 0x1000), Ok(Width::Bits64));
    assert_eq!(gas(32, 0, 1, 0x1000), Ok(Width::Bits32));

    assert_eq!(gas(32, 0, 3, 0), Err(BadRegister::Null));
    assert_eq!(gas(0, 0, 3, 0x1000), Err(BadRegister::Null));
    assert_eq!(gas(32, 0, 5, 0x1000), Err(BadRegister::AccessSize(5)));
    assert_eq!(gas(32, 1, 3, 0x1000), width(32, 1, 32));
    assert_eq!(gas(64, 1, 0, 0x1000), width(64, 1, 64));
    assert_eq!(gas(255, 255, 4, 0x1000), width(255, 255, 64));
    assert_eq!(gas(24, 0, 2, 0x1000), width(24, 0, 16));
    let misaligned = Err(BadRegister::Misaligned {
        address: 0x1004,
        alignment: 8,
    });
    assert_eq!(gas(64, 0, 4, 0x1004), misaligned);
    let address = u64::MAX - 7;
    let at_the_end = Err(BadRegister::AtTheEnd { address });
    assert_eq!(gas(64, 0, 4, address), at_the_end);
    assert_eq!(gas(32, 0, 3, address), Ok(Width::Bits32));
    assert_eq!(Width::Bits64.mask(), u64::MAX);
    assert_eq!(Width::Bits8.mask(), 0xff);
}
