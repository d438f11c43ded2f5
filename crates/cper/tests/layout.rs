//! Byte for byte: what is written lies where the specifications say, whoever reads it.

use cper::{
    ArmContext, ArmContexts, ArmError, ArmErrorDetail, ArmErrorFlags, ArmErrorKinds, ArmProcessor,
    ContextKind, DateTime, Descriptor, EncodeError, EntryInfo, FruText, Guid, Malformed,
    MemoryError, MemoryErrorType, Operation, Record, RecordFlags, RecordInfo, RunningState,
    Section, SectionFlags, Severity, StatusBlock, StatusBlockBuilder, Timestamp, Transaction,
};

/// Bytes with values at offsets and zeros elsewhere.
fn bytes(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (offset, part) in parts {
        bytes[*offset..offset + part.len()].copy_from_slice(part);
    }
    bytes
}

fn encode(section: &Section<'_>) -> Vec<u8> {
    let mut buffer = vec![0xaa; section.encoded_length()];
    assert_eq!(section.encode(&mut buffer), Ok(buffer.len()));
    buffer
}

const MEMORY_GUID: [u8; 16] = [
    0x14, 0x11, 0xbc, 0xa5, 0x64, 0x6f, 0xde, 0x4e, 0xb8, 0x63, 0x3e, 0x83, 0xed, 0x7c, 0x83, 0xb1,
];
const ARM_GUID: [u8; 16] = [
    0x16, 0x3d, 0x9e, 0xe1, 0x11, 0xbc, 0xe4, 0x11, 0x9c, 0xaa, 0xc2, 0x05, 0x1d, 0x5d, 0x46, 0xb0,
];

#[test]
fn guids() {
    assert_eq!(Guid::MEMORY.to_bytes(), MEMORY_GUID);
    assert_eq!(Guid::ARM_PROCESSOR.to_bytes(), ARM_GUID);
    for (guid, text) in [
        (Guid::MEMORY, "a5bc1114-6f64-4ede-b863-3e83ed7c83b1"),
        (Guid::MEMORY_2, "61ec04fc-48e6-d813-25c9-8daa44750b12"),
        (Guid::ARM_PROCESSOR, "e19e3d16-bc11-11e4-9caa-c2051d5d46b0"),
        (
            Guid::GENERIC_PROCESSOR,
            "9876ccad-47b4-4bdb-b65e-16f193c4f3db",
        ),
        (Guid::X86_PROCESSOR, "dc3ea0b0-a144-4797-b95b-53fa242b6e1d"),
        (Guid::PCIE, "d995e954-bbc1-430f-ad91-b44dcb3c6f35"),
        (Guid::FIRMWARE, "81212a96-09ed-4996-9471-8d729c8e69ed"),
        (Guid::NOTIFY_SEA, "9a78788a-bbe8-11e4-809e-67611e5d46b0"),
        (Guid::NOTIFY_SEI, "5c284c81-b0ae-4e87-a322-b04c85624323"),
        (Guid::NOTIFY_BOOT, "3d61a466-ab40-409a-a698-f362d464b38f"),
    ] {
        assert_eq!(guid.to_string(), text);
    }
}

#[test]
fn memory_section() {
    let error = MemoryError::new()
        .with_error_status(0x0102_0304_0506_0708)
        .with_physical_address(0x1122_3344_5566_7788)
        .with_physical_address_mask(0xffff_ffff_ffff_ffc0)
        .with_node(0x0a01)
        .with_card(0x0a02)
        .with_module(0x0a03)
        .with_bank(0x0a04)
        .with_device(0x0a05)
        .with_row(0x3_0a06)
        .with_column(0x0a07)
        .with_bit_position(0x0a08)
        .with_requestor_id(0x31)
        .with_responder_id(0x32)
        .with_target_id(0x33)
        .with_error_type(MemoryErrorType::MultiBitEcc)
        .with_rank(0x0b01)
        .with_card_handle(0x0b02)
        .with_module_handle(0x0b03)
        .with_chip_id(5);
    let expected = bytes(
        80,
        &[
            // Every bit to 21 but 19 and 20, which exclude bit 6.
            (0, &0x27_ffffu64.to_le_bytes()),
            (8, &[8, 7, 6, 5, 4, 3, 2, 1]),
            (16, &[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]),
            (24, &[0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (32, &[1, 0x0a, 2, 0x0a, 3, 0x0a, 4, 0x0a, 5, 0x0a, 6, 0x0a]),
            (44, &[7, 0x0a, 8, 0x0a]),
            (48, &[0x31]),
            (56, &[0x32]),
            (64, &[0x33]),
            (72, &[3]),
            (73, &[0b1010_0011]),
            (74, &[1, 0x0b, 2, 0x0b, 3, 0x0b]),
        ],
    );
    assert_eq!(encode(&Section::Memory(error)), expected);
    assert_eq!(
        Section::parse(Guid::MEMORY, &expected),
        Ok(Section::Memory(error))
    );
    assert_eq!(
        error.to_string(),
        "memory error: multi-bit ECC
  physical address: 0x1122334455667788
  known address bits: 0xffffffffffffffc0
  status: 0x0102030405060708
  at node 2561, card 2562, module 2563, rank 2817, bank 2564, device 2565, chip 5, row 199174, \
column 2567, bit 2568
  requestor: 0x0000000000000031
  responder: 0x0000000000000032
  target: 0x0000000000000033
  card's SMBIOS handle: 2818
  module's SMBIOS handle: 2819"
    );
}

#[test]
fn bank_group_and_address_share_the_banks_place() {
    let error = MemoryError::new()
        .with_bank(7)
        .with_bank_group_and_address(3, 2);
    let expected = bytes(80, &[(2, &[0b0001_1000]), (38, &[2, 3])]);
    assert_eq!(encode(&Section::Memory(error)), expected);
    assert_eq!(
        (error.bank(), error.bank_group(), error.bank_address()),
        (None, Some(3), Some(2))
    );
    let error = error.with_bank(9);
    assert_eq!(
        (error.bank(), error.bank_group(), error.bank_address()),
        (Some(9), None, None)
    );
}

#[test]
fn the_short_memory_section_has_no_late_fields() {
    let long = bytes(
        80,
        &[(0, &[0xff; 8]), (16, &[1]), (72, &[8]), (73, &[0xff; 7])],
    );
    for length in 73..80 {
        let error = MemoryError::parse(&long[..length]).unwrap();
        assert_eq!(error.physical_address(), Some(1));
        assert_eq!(error.error_type(), Some(MemoryErrorType::Parity));
        assert_eq!(
            (error.rank(), error.card_handle(), error.chip_id()),
            (None, None, None)
        );
        assert_eq!(error.row(), Some(0));
    }
    let needed = MemoryError::parse(&long[..72]).unwrap_err();
    assert_eq!(
        needed.to_string(),
        "memory section at byte 0 needs 73 bytes, but there are 72"
    );
}

#[test]
fn physical_range_follows_the_mask() {
    let at = |address, mask| {
        MemoryError::new()
            .with_physical_address(address)
            .with_physical_address_mask(mask)
            .physical_range()
    };
    assert_eq!(at(0x1234, u64::MAX), Some(0x1234..=0x1234));
    assert_eq!(at(0x1234, !0x3f), Some(0x1200..=0x123f));
    assert_eq!(at(0x1234, 0xffff_ffff_f000), Some(0x1000..=0x1fff));
    assert_eq!(at(0x1234, 0), Some(0x1234..=0x1234));
    assert_eq!(at(u64::MAX, 1 << 63), Some(1 << 63..=u64::MAX));
    assert_eq!(
        MemoryError::new()
            .with_physical_address_mask(!63)
            .physical_range(),
        None
    );
    let alone = MemoryError::new().with_physical_address(5);
    assert_eq!(alone.physical_range(), Some(5..=5));
}

#[test]
fn arm_processor_section() {
    let detail = ArmErrorDetail::new()
        .with_transaction(Transaction::Data)
        .with_operation(Operation::DataRead)
        .with_level(2)
        .with_context_corrupt(false)
        .with_corrected(false)
        .with_precise_pc(true)
        .with_restartable_pc(true);
    // 16 is data, 18 data read, 22 level, 27 precise, 28 restartable; seven valid bits.
    assert_eq!(
        detail.bits(),
        0x7f | 1 << 16 | 3 << 18 | 2 << 22 | 1 << 27 | 1 << 28
    );
    let errors = [ArmError::new(ArmErrorKinds::CACHE)
        .with_multiple(0)
        .with_flags(ArmErrorFlags::FIRST | ArmErrorFlags::LAST)
        .with_detail(detail)
        .with_virtual_address(0xffff_0000_1234_5678)
        .with_physical_address(0x8_1234_5678)];
    let registers: Vec<u8> = (0..17u64).flat_map(u64::to_le_bytes).collect();
    let context = ArmContext {
        kind: ContextKind::AARCH64_EL1,
        version: 0,
        registers: &registers,
    };
    let mut contexts = [0xaa; 256];
    let length = context.encode(&mut contexts).unwrap();
    assert_eq!(
        length,
        8 + 17 * 8,
        "144 is a multiple of 16, so there is no padding"
    );
    let section = ArmProcessor {
        mpidr: Some(0x8000_0003),
        midr: 0x410f_d0c1,
        affinity_level: Some(1),
        state: Some(RunningState::Running),
        errors: &errors,
        contexts: ArmContexts::parse(&contexts[..length]).unwrap(),
        vendor: &[0xde, 0xad],
    };
    let total = 40 + 32 + 144 + 2;
    let expected = bytes(
        total,
        &[
            (0, &[0b1111]),
            (4, &[1, 0]),
            (6, &[1, 0]),
            (8, &[total as u8]),
            (12, &[1]),
            (16, &0x8000_0003u64.to_le_bytes()),
            (24, &0x410f_d0c1u64.to_le_bytes()),
            (32, &[1]),
            (40 + 1, &[32]),
            (40 + 2, &[0b1_1111]),
            (40 + 4, &[1 << 1]),
            (40 + 7, &[0b11]),
            (40 + 8, &detail.bits().to_le_bytes()),
            (40 + 16, &0xffff_0000_1234_5678u64.to_le_bytes()),
            (40 + 24, &0x8_1234_5678u64.to_le_bytes()),
            (72 + 2, &[5]),
            (72 + 4, &[17 * 8]),
            (72 + 8, &registers),
            (216, &[0xde, 0xad]),
        ],
    );
    assert_eq!(encode(&Section::ArmProcessor(section)), expected);
    assert_eq!(
        Section::parse(Guid::ARM_PROCESSOR, &expected),
        Ok(Section::ArmProcessor(section))
    );
    assert_eq!(
        section.to_string(),
        "ARM processor error
  MPIDR_EL1: 0x0000000080000003
  MIDR_EL1: 0x00000000410fd0c1
  affinity level: 1
  processor: running
  cache error, first captured, last captured, virtual address 0xffff000012345678, \
physical address 0x0000000812345678
    transaction Data, operation DataRead, level 2, context corrupt false, corrected false, \
precise PC true, restartable PC true
  AArch64 EL1 registers:
    ELR_EL1=0x0 ESR_EL1=0x1 FAR_EL1=0x2 ISR_EL1=0x3
    MAIR_EL1=0x4 MIDR_EL1=0x5 MPIDR_EL1=0x6 SCTLR_EL1=0x7
    SP_EL0=0x8 SP_EL1=0x9 SPSR_EL1=0xa TCR_EL1=0xb
    TPIDR_EL0=0xc TPIDR_EL1=0xd TPIDRRO_EL0=0xe TTBR0_EL1=0xf
    TTBR1_EL1=0x10
  vendor's data: 2 bytes: de ad"
    );
}

#[test]
fn contexts_are_padded_to_sixteen_bytes() {
    for (length, padded) in [(0, 16), (1, 16), (8, 16), (9, 32), (24, 32), (256, 272)] {
        let context = ArmContext {
            kind: ContextKind(77),
            version: 3,
            registers: &vec![0x5a; length],
        };
        let mut buffer = [0xaa; 288];
        assert_eq!(context.encode(&mut buffer), Ok(padded));
        assert!(buffer[8 + length..padded].iter().all(|&byte| byte == 0));
        let contexts = ArmContexts::parse(&buffer[..padded]).unwrap();
        assert_eq!(contexts.iter().collect::<Vec<_>>(), [context]);
        assert!(ArmContexts::parse(&buffer[..padded - 1]).is_err());
    }
}

#[test]
fn arm_error_kinds_depend_on_the_version() {
    let mut raw = bytes(
        40 + 32,
        &[(4, &[1]), (8, &[72]), (41, &[32]), (44, &[0b10])],
    );
    let kinds = |raw: &[u8]| match Section::parse(Guid::ARM_PROCESSOR, raw) {
        Ok(Section::ArmProcessor(section)) => section.errors[0].kinds(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kinds(&raw), ArmErrorKinds::CACHE);
    raw[40] = 1;
    assert_eq!(kinds(&raw), ArmErrorKinds::TLB);
    raw[41] = 24;
    assert_eq!(
        Section::parse(Guid::ARM_PROCESSOR, &raw).unwrap_err(),
        Malformed::Length {
            what: "ARM error structure",
            offset: 40,
            length: 24
        }
    );
}

#[test]
fn status_block() {
    let timestamp = Timestamp::new(
        DateTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 23,
            minute: 59,
            second: 58,
        },
        true,
    )
    .unwrap();
    let info = EntryInfo {
        flags: SectionFlags::PRIMARY | SectionFlags::THRESHOLD_EXCEEDED,
        fru_id: Some(Guid::PCIE),
        fru_text: FruText::new("DIMM A1"),
        timestamp: Some(timestamp),
        ..EntryInfo::new(Severity::Recoverable)
    };
    let error = MemoryError::new().with_physical_address(0x1000);
    let mut buffer = [0xaa; 512];
    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    builder.add(&info, &Section::Memory(error)).unwrap();
    let length = builder.finish_with_raw_data(&[1, 2, 3]).unwrap();
    let expected = bytes(
        20 + 72 + 80 + 3,
        &[
            // One uncorrectable error; one entry.
            (0, &[0x11]),
            (4, &[172]),
            (8, &[3]),
            (12, &[152]),
            (20, &MEMORY_GUID),
            (20 + 20, &[0, 3]),
            (20 + 22, &[0b111]),
            (20 + 23, &[0b1001]),
            (20 + 24, &[80]),
            (20 + 28, &Guid::PCIE.to_bytes()),
            (20 + 44, b"DIMM A1"),
            (20 + 64, &[0x58, 0x59, 0x23, 1, 0x22, 0x11, 0x26, 0x20]),
            (92, &[0b10]),
            (92 + 17, &[0x10]),
            (172, &[1, 2, 3]),
        ],
    );
    assert_eq!(&buffer[..length], expected);

    let block = StatusBlock::parse(&buffer[..length]).unwrap();
    assert_eq!(block.severity(), Severity::Recoverable);
    assert_eq!(block.raw_data(), [1, 2, 3]);
    let header = block.header();
    assert!(header.is_pending() && header.has_uncorrected() && !header.has_corrected());
    assert_eq!((header.stated_entries(), header.block_status()), (1, 0x11));
    let entries: Vec<_> = block.entries().collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].info, info);
    assert_eq!(entries[0].section(), Ok(Section::Memory(error)));
    assert_eq!(
        block.to_string(),
        "recoverable hardware error
1: recoverable, primary, threshold exceeded, unit d995e954-bbc1-430f-ad91-b44dcb3c6f35, \
unit \"DIMM A1\", at 2026-11-22 23:59:58: memory error
  physical address: 0x0000000000001000
raw data: 3 bytes: 01 02 03"
    );
}

#[test]
fn the_old_entry_has_no_timestamp() {
    let info = EntryInfo {
        revision: 0x201,
        ..EntryInfo::new(Severity::Corrected)
    };
    let section = Section::Other {
        section_type: Guid::PCIE,
        bytes: &[7],
    };
    let mut buffer = [0xaa; 128];
    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    builder.add(&info, &section).unwrap();
    let length = builder.finish().unwrap();
    let expected = bytes(
        20 + 64 + 1,
        &[
            // One correctable error; one entry.
            (0, &[0x12]),
            (12, &[65]),
            (16, &[2]),
            (20, &Guid::PCIE.to_bytes()),
            (20 + 16, &[2]),
            (20 + 20, &[1, 2]),
            (20 + 24, &[1]),
            (84, &[7]),
        ],
    );
    assert_eq!(&buffer[..length], expected);
    let block = StatusBlock::parse(&buffer[..length]).unwrap();
    let entry = block.entries().next().unwrap();
    assert_eq!((entry.info, entry.section()), (info, Ok(section)));

    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    let timestamped = EntryInfo {
        timestamp: Timestamp::new(
            DateTime {
                year: 1,
                month: 1,
                day: 1,
                hour: 0,
                minute: 0,
                second: 0,
            },
            false,
        ),
        ..info
    };
    assert_eq!(
        builder.add(&timestamped, &section),
        Err(EncodeError::TimestampNeedsRevision3)
    );
}

#[test]
fn the_status_word_counts_and_the_worst_severity_wins() {
    let word = |severities: &[Severity]| {
        let mut buffer = [0; 1024];
        let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
        for &severity in severities {
            let section = Section::Other {
                section_type: Guid::ZERO,
                bytes: &[],
            };
            builder.add(&EntryInfo::new(severity), &section).unwrap();
        }
        let length = builder.finish().unwrap();
        let block = StatusBlock::parse(&buffer[..length]).unwrap();
        (block.header().block_status(), block.severity())
    };
    use Severity::{Corrected, Fatal, Informational, Recoverable, Reserved};
    assert_eq!(word(&[]), (0, Informational));
    assert_eq!(word(&[Recoverable]), (0x11, Recoverable));
    assert_eq!(word(&[Corrected, Corrected]), (0x2a, Corrected));
    assert_eq!(word(&[Corrected, Fatal, Recoverable]), (0x37, Fatal));
    assert_eq!(word(&[Informational]), (0x10, Informational));
    assert_eq!(word(&[Reserved(9)]), (0x10, Reserved(9)));
    assert_eq!(word(&[Reserved(9), Informational]), (0x20, Informational));
}

#[test]
fn entries_that_firmware_miscounts_are_found() {
    let mut buffer = [0; 256];
    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    let section = Section::Memory(MemoryError::new());
    builder
        .add(&EntryInfo::new(Severity::Fatal), &section)
        .unwrap();
    let length = builder.finish().unwrap();
    buffer[0] = 0x71;
    let block = StatusBlock::parse(&buffer[..length]).unwrap();
    assert_eq!(
        (block.header().stated_entries(), block.entries().count()),
        (7, 1)
    );
}

#[test]
fn one_bad_section_does_not_hide_the_next() {
    let mut buffer = [0; 512];
    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    let info = EntryInfo::new(Severity::Recoverable);
    let bad = Section::Other {
        section_type: Guid::MEMORY,
        bytes: &[0; 10],
    };
    let good = Section::Memory(MemoryError::new().with_physical_address(1));
    builder.add(&info, &bad).unwrap();
    builder.add(&info, &good).unwrap();
    let length = builder.finish().unwrap();
    let block = StatusBlock::parse(&buffer[..length]).unwrap();
    let sections: Vec<_> = block.entries().map(|entry| entry.section()).collect();
    assert!(matches!(sections[0], Err(Malformed::Truncated { .. })));
    assert_eq!(sections[1], Ok(good));
    assert!(
        block
            .to_string()
            .contains("needs 73 bytes, but there are 10")
    );
}

#[test]
fn raw_data_may_not_overlap_entries() {
    let block = bytes(64, &[(0, &[1]), (4, &[19]), (8, &[4])]);
    assert_eq!(
        StatusBlock::parse(&block).unwrap_err(),
        Malformed::RawDataOverlap {
            offset: 19,
            entries_end: 20
        }
    );
}

#[test]
fn record() {
    let info = RecordInfo {
        flags: RecordFlags::PREVIOUS | RecordFlags::SIMULATED,
        partition_id: Some(Guid::FIRMWARE),
        creator_id: Guid::PCIE,
        notification_type: Guid::NOTIFY_SEA,
        persistence_info: 0x77,
        ..RecordInfo::new(Severity::Fatal, 0x1_0000_0002)
    };
    let sections = [
        (
            Descriptor {
                flags: SectionFlags::PRIMARY,
                fru_text: FruText::new("slot 3"),
                ..Descriptor::new(Severity::Fatal)
            },
            Section::Memory(MemoryError::new()),
        ),
        (
            Descriptor {
                fru_id: Some(Guid::MEMORY_2),
                ..Descriptor::new(Severity::Informational)
            },
            Section::Other {
                section_type: Guid::FIRMWARE,
                bytes: &[9, 8],
            },
        ),
    ];
    let mut buffer = [0xaa; 512];
    let length = Record::encode(&info, &sections, &mut buffer).unwrap();
    let expected = bytes(
        128 + 144 + 80 + 2,
        &[
            (0, b"CPER"),
            (4, &[1, 1]),
            (6, &[0xff; 4]),
            (10, &[2]),
            (12, &[1]),
            (16, &[0b100]),
            (20, &354u32.to_le_bytes()),
            (48, &Guid::FIRMWARE.to_bytes()),
            (64, &Guid::PCIE.to_bytes()),
            (80, &Guid::NOTIFY_SEA.to_bytes()),
            (96, &[2, 0, 0, 0, 1]),
            (104, &[0b110]),
            (108, &[0x77]),
            (128, &272u32.to_le_bytes()),
            (128 + 4, &[80]),
            (128 + 8, &[0, 1]),
            (128 + 10, &[0b10]),
            (128 + 12, &[1]),
            (128 + 16, &MEMORY_GUID),
            (128 + 48, &[1]),
            (128 + 52, b"slot 3"),
            (200, &352u32.to_le_bytes()),
            (200 + 4, &[2]),
            (200 + 8, &[0, 1]),
            (200 + 10, &[0b01]),
            (200 + 16, &Guid::FIRMWARE.to_bytes()),
            (200 + 32, &Guid::MEMORY_2.to_bytes()),
            (200 + 48, &[3]),
            (352, &[9, 8]),
        ],
    );
    assert_eq!(&buffer[..length], expected);
    let record = Record::parse(&buffer).unwrap();
    assert_eq!(record.info, info);
    let found: Vec<_> = record.sections().map(|(d, s)| (d, s.unwrap())).collect();
    assert_eq!(found, sections);
    assert_eq!(
        record.to_string(),
        "record 0x100000002: fatal hardware error, previous boot, simulated
1: fatal: memory error
2: informational: firmware error record\n  2 bytes: 09 08"
    );
    buffer[3] = b'X';
    assert_eq!(Record::parse(&buffer), Err(Malformed::Signature));
}

#[test]
fn timestamps_that_are_no_date_are_told_apart() {
    let time = |bytes: [u8; 8]| -> Timestamp { zerocopy::transmute!(bytes) };
    assert_eq!(
        time([0x60, 0, 0, 0, 1, 1, 0, 0x20]).to_string(),
        "2000-01-01 00:00:60 (imprecise)"
    );
    for bad in [
        [0x0a, 0, 0, 0, 1, 1, 0, 0x20],
        [0, 0, 0x24, 0, 1, 1, 0, 0x20],
        [0, 0, 0, 0, 0, 1, 0, 0x20],
        [0, 0, 0, 0, 1, 0x13, 0, 0x20],
        [0, 0, 0, 0, 1, 1, 0, 0xff],
    ] {
        assert_eq!(time(bad).date_time(), None, "{bad:x?}");
        assert!(time(bad).to_string().starts_with("no date"));
    }
}
