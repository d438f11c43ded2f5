//! What holds for every input: no bytes make a decoder panic, and nothing that is written is lost.

use cper::{
    ArmContext, ArmContexts, ArmError, ArmErrorDetail, ArmErrorFlags, ArmErrorKinds, ArmProcessor,
    ContextKind, DateTime, Descriptor, EncodeError, EntryInfo, FruText, Guid, MemoryError,
    MemoryErrorType, Record, RecordFlags, RecordInfo, RunningState, Section, SectionFlags,
    Severity, StatusBlock, StatusBlockBuilder, Timestamp,
};
use proptest::prelude::*;

/// Miri interprets: fewer cases, and no file of past failures, which it has no access to.
fn config(cases: u32) -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig {
            cases: (cases / 256).max(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    } else {
        ProptestConfig::with_cases(cases)
    }
}

/// A section that owns what it is made of.
#[derive(Clone, Debug)]
enum Model {
    Memory(MemoryError),
    Arm {
        section: ArmProcessor<'static>,
        errors: Vec<ArmError>,
        contexts: Vec<u8>,
        vendor: Vec<u8>,
    },
    Other(Guid, Vec<u8>),
}

impl Model {
    fn section(&self) -> Section<'_> {
        match self {
            Self::Memory(error) => Section::Memory(*error),
            Self::Arm {
                section,
                errors,
                contexts,
                vendor,
            } => Section::ArmProcessor(ArmProcessor {
                errors,
                contexts: ArmContexts::parse(contexts).unwrap(),
                vendor,
                ..*section
            }),
            Self::Other(section_type, bytes) => Section::Other {
                section_type: *section_type,
                bytes,
            },
        }
    }
}

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..limit)
}

fn any_guid() -> impl Strategy<Value = Guid> {
    any::<[u8; 16]>().prop_map(Guid::from_bytes)
}

fn any_severity() -> impl Strategy<Value = Severity> {
    prop_oneof![0u32..4, any::<u32>()].prop_map(Severity::from_code)
}

prop_compose! {
    fn any_timestamp()(
        year in 0u16..=9999, month in 1u8..=12, day in 1u8..=31,
        hour in 0u8..24, minute in 0u8..60, second in 0u8..=60, precise: bool,
    ) -> Timestamp {
        Timestamp::new(DateTime { year, month, day, hour, minute, second }, precise).unwrap()
    }
}

fn any_fru_text() -> impl Strategy<Value = FruText> {
    "[ -~]{0,20}".prop_map(|text| FruText::new(&text).unwrap())
}

prop_compose! {
    fn any_info()(
        severity in any_severity(),
        flags: u8,
        fru_id in prop::option::of(any_guid()),
        fru_text in prop::option::of(any_fru_text()),
        timestamp in prop::option::of(any_timestamp()),
        revision in prop::sample::select(vec![0x201, 0x300, 0x301]),
    ) -> EntryInfo {
        EntryInfo {
            severity,
            flags: SectionFlags::from_bits_retain(flags.into()),
            fru_id,
            fru_text,
            timestamp: timestamp.filter(|_| revision >= 0x300),
            revision,
        }
    }
}

fn any_memory() -> impl Strategy<Value = MemoryError> {
    let raw = prop::array::uniform32(any::<u8>());
    (raw, raw, prop::array::uniform16(any::<u8>()))
        .prop_map(|(a, b, c)| MemoryError::parse(&[&a[..], &b, &c].concat()).unwrap())
}

prop_compose! {
    fn any_arm_error()(
        kinds: u8, multiple: Option<u16>, flags: Option<u8>, detail: Option<u64>,
        virtual_address: Option<u64>, physical_address: Option<u64>,
    ) -> ArmError {
        let mut error = ArmError::new(ArmErrorKinds::from_bits_truncate(kinds));
        if let Some(value) = multiple { error = error.with_multiple(value); }
        if let Some(value) = flags {
            error = error.with_flags(ArmErrorFlags::from_bits_retain(value));
        }
        if let Some(value) = detail { error = error.with_detail(ArmErrorDetail::from_bits(value)); }
        if let Some(value) = virtual_address { error = error.with_virtual_address(value); }
        if let Some(value) = physical_address { error = error.with_physical_address(value); }
        assert_eq!(error.multiple(), multiple);
        assert_eq!(error.flags().map(|flags| flags.bits()), flags);
        assert_eq!(error.detail().map(ArmErrorDetail::bits), detail);
        assert_eq!(error.virtual_address(), virtual_address);
        assert_eq!(error.physical_address(), physical_address);
        error
    }
}

prop_compose! {
    fn any_contexts()(
        contexts in prop::collection::vec((0u16..10, any::<u16>(), bytes(300)), 0..3),
    ) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (kind, version, registers) in &contexts {
            let context = ArmContext { kind: ContextKind(*kind), version: *version, registers };
            let mut buffer = [0; 512];
            let length = context.encode(&mut buffer).unwrap();
            encoded.extend_from_slice(&buffer[..length]);
        }
        let parsed = ArmContexts::parse(&encoded).unwrap();
        assert_eq!(usize::from(parsed.count()), contexts.len());
        for (context, (kind, version, registers)) in parsed.iter().zip(&contexts) {
            assert_eq!(
                (context.kind.0, context.version, context.registers),
                (*kind, *version, registers.as_slice())
            );
        }
        encoded
    }
}

prop_compose! {
    fn any_arm()(
        mpidr: Option<u64>,
        midr: u64,
        affinity_level: Option<u8>,
        state in prop::option::of(prop_oneof![
            Just(RunningState::Running),
            any::<u32>().prop_map(|psci_state| RunningState::Stopped { psci_state }),
        ]),
        errors in prop::collection::vec(any_arm_error(), 0..4),
        contexts in any_contexts(),
        vendor in bytes(40),
    ) -> Model {
        let section = ArmProcessor { mpidr, midr, affinity_level, state, ..Default::default() };
        Model::Arm { section, errors, contexts, vendor }
    }
}

fn any_section() -> impl Strategy<Value = Model> {
    prop_oneof![
        any_memory().prop_map(Model::Memory),
        any_arm(),
        (any_guid(), bytes(100)).prop_map(|(guid, bytes)| Model::Other(guid, bytes)),
    ]
}

fn any_entries() -> impl Strategy<Value = Vec<(EntryInfo, Model)>> {
    prop::collection::vec((any_info(), any_section()), 0..4)
}

fn encode_block(
    entries: &[(EntryInfo, Model)],
    raw_data: &[u8],
    buffer: &mut [u8],
) -> Result<usize, EncodeError> {
    let mut builder = StatusBlockBuilder::new(buffer)?;
    for (info, model) in entries {
        builder.add(info, &model.section())?;
    }
    builder.finish_with_raw_data(raw_data)
}

fn any_block() -> impl Strategy<Value = Vec<u8>> {
    (any_entries(), bytes(20)).prop_map(|(entries, raw_data)| {
        let mut buffer = vec![0; 16384];
        let length = encode_block(&entries, &raw_data, &mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    })
}

/// Decodes and prints everything there is.
fn use_all(bytes: &[u8]) -> usize {
    let mut printed = 0;
    if let Ok(block) = StatusBlock::parse(bytes) {
        printed += format!("{block} {block:?}").len();
        for entry in block.entries() {
            if let Ok(section) = entry.section() {
                printed += format!("{section} {section:?}").len();
                let mut buffer = vec![0; section.encoded_length()];
                assert_eq!(section.encode(&mut buffer), Ok(buffer.len()));
            }
        }
    }
    if let Ok(record) = Record::parse(bytes) {
        printed += format!("{record} {record:?}").len();
    }
    for guid in [Guid::MEMORY, Guid::ARM_PROCESSOR, Guid::ZERO] {
        match Section::parse(guid, bytes) {
            Ok(section) => printed += format!("{section} {section:?}").len(),
            Err(error) => printed += error.to_string().len(),
        }
    }
    printed
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in bytes(400)) {
        use_all(&bytes);
    }

    /// Most random bytes fail early; these have a head that leads further in.
    #[test]
    fn no_plausible_bytes_make_a_decoder_panic(
        mut bytes in prop::collection::vec(0u8..40, 128..600),
        status in any::<bool>(),
    ) {
        let length = bytes.len() as u32;
        if status {
            bytes[4..12].fill(0);
            bytes[12..16].copy_from_slice(&(length - 20).to_le_bytes());
            bytes[20..36].copy_from_slice(&Guid::ARM_PROCESSOR.to_bytes());
            bytes[44..48].copy_from_slice(&(length - 92).to_le_bytes());
            bytes[40..42].copy_from_slice(&[0, 3]);
            prop_assert!(StatusBlock::parse(&bytes).is_ok());
        } else {
            bytes[..4].copy_from_slice(b"CPER");
            bytes[6..10].fill(0xff);
            bytes[10..12].copy_from_slice(&[1, 0]);
            bytes[20..24].copy_from_slice(&length.to_le_bytes());
        }
        use_all(&bytes);
    }

    #[test]
    fn a_section_is_what_was_written(model in any_section()) {
        let section = model.section();
        let mut buffer = vec![0xaa; section.encoded_length()];
        prop_assert_eq!(section.encode(&mut buffer), Ok(buffer.len()));
        prop_assert_eq!(Section::parse(section.section_type(), &buffer), Ok(section));
        let available = buffer.len().saturating_sub(1);
        if section.encoded_length() > 0 {
            let refused = section.encode(&mut buffer[..available]);
            let too_small = matches!(
                refused,
                Err(EncodeError::BufferTooSmall { needed, .. }) if needed > available
            );
            prop_assert!(too_small);
        }
    }

    #[test]
    fn a_block_is_what_was_written(entries in any_entries(), raw_data in bytes(20)) {
        let mut buffer = vec![0xaa; 16384];
        let length = encode_block(&entries, &raw_data, &mut buffer).unwrap();
        let block = StatusBlock::parse(&buffer).unwrap();
        prop_assert_eq!(block.header().block_length(), Ok(length));
        prop_assert_eq!(block.header().is_pending(), !entries.is_empty());
        prop_assert_eq!(block.raw_data(), raw_data.as_slice());
        prop_assert_eq!(block.entries().count(), entries.len());
        for (entry, (info, model)) in block.entries().zip(&entries) {
            prop_assert_eq!(&entry.info, info);
            prop_assert_eq!(entry.section(), Ok(model.section()));
        }
        for cut in [0, 1, length / 2, length.saturating_sub(1)] {
            let refused = encode_block(&entries, &raw_data, &mut vec![0; cut]);
            let too_small = matches!(
                refused,
                Err(EncodeError::BufferTooSmall { needed, available }) if needed > available
            );
            prop_assert!(too_small);
        }
    }

    #[test]
    fn a_record_is_what_was_written(
        severity in any_severity(),
        [flags, section_flags] in any::<[u32; 2]>(),
        [record_id, persistence_info] in any::<[u64; 2]>(),
        timestamp in prop::option::of(any_timestamp()),
        [platform_id, partition_id] in prop::array::uniform2(prop::option::of(any_guid())),
        [creator_id, notification_type] in prop::array::uniform2(any_guid()),
        entries in any_entries(),
    ) {
        let info = RecordInfo {
            severity,
            flags: RecordFlags::from_bits_retain(flags),
            record_id,
            timestamp,
            platform_id,
            partition_id,
            creator_id,
            notification_type,
            persistence_info,
        };
        let sections: Vec<_> = entries.iter().map(|(entry, model)| {
            let descriptor = Descriptor {
                severity: entry.severity,
                flags: SectionFlags::from_bits_retain(section_flags),
                fru_id: entry.fru_id,
                fru_text: entry.fru_text,
            };
            (descriptor, model.section())
        }).collect();
        let mut buffer = vec![0xaa; 16384];
        let length = Record::encode(&info, &sections, &mut buffer).unwrap();
        let record = Record::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(record.info, info);
        let found: Vec<_> = record.sections().map(|(d, s)| (d, s.unwrap())).collect();
        prop_assert_eq!(found, sections);
        prop_assert!(Record::parse(&buffer[..length - 1]).is_err());
        prop_assert!(Record::encode(&info, &[], &mut buffer[..127]).is_err());
    }

    #[test]
    fn memory_fields_are_independent(error in any_memory(), value: u64) {
        macro_rules! check {
            ($($with:ident $get:ident $type:ty,)*) => {$(
                let changed = error.$with(value as $type);
                prop_assert_eq!(changed.$get(), Some(value as $type));
                // Put back, nothing else has changed.
                if let Some(kept) = error.$get() {
                    prop_assert_eq!(changed.$with(kept), error);
                }
            )*};
        }
        check! {
            with_error_status error_status u64,
            with_physical_address physical_address u64,
            with_physical_address_mask physical_address_mask u64,
            with_node node u16,
            with_card card u16,
            with_module module u16,
            with_device device u16,
            with_column column u16,
            with_bit_position bit_position u16,
            with_requestor_id requestor_id u64,
            with_responder_id responder_id u64,
            with_target_id target_id u64,
            with_rank rank u16,
            with_card_handle card_handle u16,
            with_module_handle module_handle u16,
        }
        let kind = MemoryErrorType::from_code(value as u8);
        prop_assert_eq!(kind.code(), value as u8);
        prop_assert_eq!(error.with_error_type(kind).error_type(), Some(kind));
        let row = value as u32 & 0x3_ffff;
        prop_assert_eq!(error.with_row(row).row(), Some(row));
        prop_assert_eq!(error.with_chip_id(value as u8 & 7).chip_id(), Some(value as u8 & 7));
        prop_assert_eq!(error.with_row(row).chip_id(), error.chip_id());
        if let Some(range) = error.physical_range() {
            prop_assert!(range.contains(&error.physical_address().unwrap()));
        }
    }
}

// These try a block as often as it has bytes.
proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn every_truncation_is_an_error(block in any_block()) {
        let step = if cfg!(miri) { 499 } else { 1 };
        for length in (0..block.len()).step_by(step) {
            prop_assert!(StatusBlock::parse(&block[..length]).is_err(), "{}", length);
            use_all(&block[..length]);
        }
    }

    #[test]
    fn a_changed_byte_gives_a_value_or_an_error(block in any_block(), values in any::<[u8; 3]>()) {
        let step = if cfg!(miri) { 499 } else { 1 };
        let mut block = block;
        for at in (usize::from(values[0]) % step..block.len()).step_by(step) {
            let kept = block[at];
            for value in [values[1], values[2], !kept, kept ^ 1, 0xff, 0] {
                block[at] = value;
                use_all(&block);
            }
            block[at] = kept;
        }
    }
}
