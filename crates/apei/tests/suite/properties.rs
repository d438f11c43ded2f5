//! What holds for every input: no bytes make a decoder panic, no program runs for ever, and
//! nothing that is written is lost.

use apei::{
    AddressSpace, Bert, Einj, Erst, GenericAddress, GenericSource, GenericSourceV2, Hest,
    HestBuilder, Instruction, InstructionEntry, InstructionSet, Limits, Notification,
    NotificationKind, Program, ReadAck, RunCause, SetErrorTypeWithAddress, Source, Trigger,
    TriggerTable, Width,
};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use crate::machine::{Machine, OEM};

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

const LIMITS: Limits = Limits {
    steps: if cfg!(miri) { 100 } else { 2000 },
    microseconds: 10_000,
    copied: 4096,
};

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..limit)
}

fn raw<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

/// Sources of all kinds, with any content.
fn any_sources() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let source = prop_oneof![
        raw::<64>().prop_map(|mut bytes| {
            bytes[..2].copy_from_slice(&[9, 0]);
            bytes.to_vec()
        }),
        raw::<92>().prop_map(|mut bytes| {
            bytes[..2].copy_from_slice(&[10, 0]);
            bytes.to_vec()
        }),
        raw::<48>().prop_map(|mut bytes| {
            bytes[..2].copy_from_slice(&[6, 0]);
            bytes.to_vec()
        }),
        (12u16.., bytes(50)).prop_map(|(kind, rest)| {
            let length = rest.len() as u16 + 4;
            [&kind.to_le_bytes()[..], &length.to_le_bytes(), &rest].concat()
        }),
    ];
    prop::collection::vec(source, 0..5)
}

fn source(bytes: &[u8]) -> Source<'_> {
    match u16::from_le_bytes([bytes[0], bytes[1]]) {
        9 => Source::Generic(GenericSource::ref_from_bytes(bytes).unwrap()),
        10 => Source::GenericV2(GenericSourceV2::ref_from_bytes(bytes).unwrap()),
        source_type => Source::Other { source_type, bytes },
    }
}

fn hest(sources: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = vec![0xaa; 1024];
    let mut builder = HestBuilder::new(&mut buffer, &OEM).unwrap();
    for bytes in sources {
        builder.add(&source(bytes)).unwrap();
    }
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// Registers that mostly lie in the machine's memory.
fn any_register() -> impl Strategy<Value = GenericAddress> {
    let width = prop::sample::select(vec![
        Width::Bits8,
        Width::Bits16,
        Width::Bits32,
        Width::Bits64,
    ]);
    prop_oneof![
        8 => (0u64..32, width).prop_map(|(word, width)| {
            GenericAddress::memory(Machine::BASE + 8 * word, width)
        }),
        1 => raw::<12>().prop_map(|bytes| GenericAddress::read_from_bytes(&bytes).unwrap()),
        1 => any::<[u8; 4]>().prop_map(|[space, bit_width, bit_offset, access_size]| {
            GenericAddress {
                space: AddressSpace(space % 2),
                bit_width: bit_width % 65,
                bit_offset: bit_offset % 64,
                access_size: access_size % 5,
                address: Machine::BASE.into(),
            }
        }),
    ]
}

prop_compose! {
    fn any_entry()(
        action in 0u8..12,
        instruction in 0u8..0x14,
        flags in 0u8..2,
        register in any_register(),
        value in prop_oneof![0u64..8, any::<u64>()],
        mask in prop_oneof![Just(u64::MAX), 0u64..256, any::<u64>()],
    ) -> InstructionEntry {
        InstructionEntry {
            action,
            instruction: Instruction(instruction),
            flags,
            reserved: 0,
            register,
            value: value.into(),
            mask: mask.into(),
        }
    }
}

fn any_entries() -> impl Strategy<Value = Vec<InstructionEntry>> {
    prop::collection::vec(any_entry(), 0..24)
}

fn sealed(mut table: Vec<u8>) -> Vec<u8> {
    if table.len() >= 36 {
        let length = table.len() as u32;
        table[4..8].copy_from_slice(&length.to_le_bytes());
        table[9] = 0;
        table[9] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    }
    table
}

fn machine(memory: &[u8]) -> Machine {
    let mut machine = Machine::new(0x400);
    machine.memory[..memory.len()].copy_from_slice(memory);
    machine
}

/// Decodes everything there is and runs it.
fn use_all(bytes: &[u8]) {
    if let Ok(hest) = Hest::parse(bytes) {
        for source in hest.sources() {
            let mut buffer = [0; 256];
            match source {
                Ok(Source::Generic(source)) => {
                    let _ = source.claim(&mut Machine::new(64), &mut buffer);
                }
                Ok(Source::GenericV2(source)) => {
                    let _ = source.claim(&mut Machine::new(64), &mut buffer);
                }
                Ok(Source::Other { bytes, .. }) => assert!(!bytes.is_empty()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    let _ = Bert::parse(bytes);
    let mut machine = Machine::new(256);
    if let Ok(einj) = Einj::parse(bytes) {
        let error =
            SetErrorTypeWithAddress::new(einj.available(LIMITS, &mut machine).unwrap_or_default());
        let _ = einj.inject(&error, Trigger::Fire, LIMITS, &mut machine);
    }
    for program in [
        Erst::parse(bytes).map(|table| table.program),
        TriggerTable::parse(bytes).map(|table| table.program),
    ] {
        match program {
            Ok(program) => run_all(&program, &mut machine),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn run_all(program: &Program<'_>, machine: &mut Machine) {
    for action in 0..=255 {
        if program.has(action) {
            machine.stalled = 0;
            if let Err(error) = program.run(action, 1, LIMITS, machine) {
                assert!(!error.to_string().is_empty());
                assert!(!matches!(error.cause, RunCause::NoSuchAction));
            }
            assert!(machine.stalled <= LIMITS.microseconds);
        }
    }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in bytes(300),
        signature in prop::sample::select(vec![*b"HEST", *b"BERT", *b"EINJ", *b"ERST"]),
    ) {
        use_all(&bytes);
        // Most random bytes fail at the signature or the checksum; these do not.
        let mut bytes = bytes;
        if bytes.len() > 48 {
            bytes[..4].copy_from_slice(&signature);
            bytes[36..48].iter_mut().for_each(|byte| *byte %= 4);
            bytes[37..40].fill(0);
            bytes[45..48].fill(0);
        }
        use_all(&sealed(bytes));
    }

    #[test]
    fn a_hest_is_what_was_written(sources in any_sources()) {
        let table = hest(&sources);
        let found: Vec<_> = Hest::parse(&table).unwrap().sources().map(Result::unwrap).collect();
        let written: Vec<_> = sources.iter().map(|bytes| source(bytes)).collect();
        prop_assert_eq!(found, written);
        prop_assert!(HestBuilder::new(&mut [0; 39], &OEM).is_err());
    }

    #[test]
    fn action_tables_are_what_was_written(entries in any_entries()) {
        let mut buffer = vec![0xaa; 1024];
        let length = Einj::encode(&OEM, &entries, &mut buffer).unwrap();
        prop_assert_eq!(Einj::parse(&buffer[..length]).unwrap().program.entries(), &entries);
        prop_assert!(Einj::encode(&OEM, &entries, &mut vec![0; length - 1]).is_err());
        let length = Erst::encode(&OEM, &entries, &mut buffer).unwrap();
        prop_assert_eq!(Erst::parse(&buffer[..length]).unwrap().program.entries(), &entries);
        let length = TriggerTable::encode(&entries, &mut buffer).unwrap();
        let table = TriggerTable::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(table.program.entries(), &entries);
        prop_assert!(TriggerTable::encode(&entries, &mut vec![0; length - 1]).is_err());
    }

    #[test]
    fn a_bert_is_what_was_written(region_length: u32, region_address: u64) {
        let bert = Bert {
            region_length: region_length.into(),
            region_address: region_address.into(),
        };
        let mut buffer = [0; Bert::TABLE_LENGTH];
        prop_assert_eq!(bert.encode(&OEM, &mut buffer), Ok(buffer.len()));
        prop_assert_eq!(Bert::parse(&buffer), Ok(bert));
    }

    #[test]
    fn every_program_ends(entries in any_entries(), memory in raw::<256>()) {
        for set in [InstructionSet::Injection, InstructionSet::Serialization] {
            run_all(&Program::new(&entries, set), &mut machine(&memory));
        }
    }

    /// The register, the block and its lengths may be anything: the claim ends, and a block that
    /// was taken is one that fits.
    #[test]
    fn claiming_survives_any_memory(
        register in any_register(),
        ack in any_register(),
        [preserve, write] in any::<[u64; 2]>(),
        block in 0u64..0x400,
        mut memory in raw::<512>(),
        lengths in prop::array::uniform3(0u8..200),
        room in 0u32..1024,
        buffer_length in 0usize..512,
    ) {
        memory[..256].as_chunks_mut().0.fill((Machine::BASE + block).to_le_bytes());
        if let Some(header) = memory.get_mut(block as usize..block as usize + 20) {
            header[5..8].fill(0);
            header[9..12].fill(0);
            header[13..16].fill(0);
            for (at, length) in [4, 8, 12].into_iter().zip(lengths) {
                header[at] = length;
            }
        }
        let source = GenericSourceV2::new(
            GenericSource::new(0, Notification::new(NotificationKind::SEA), register, room),
            ReadAck { register: ack, preserve: preserve.into(), write: write.into() },
        );
        let mut machine = machine(&memory);
        let mut buffer = vec![0; buffer_length];
        match source.claim(&mut machine, &mut buffer) {
            Ok(Some(block)) => {
                let length = block.header().block_length().unwrap();
                prop_assert!(length <= room as usize && length <= buffer_length);
                prop_assert!(block.header().is_pending());
            }
            Ok(None) => {}
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

// These try a table as often as it has bytes.
proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn every_truncation_is_an_error(sources in any_sources(), entries in any_entries()) {
        let mut buffer = vec![0; 2048];
        let length = Einj::encode(&OEM, &entries, &mut buffer).unwrap();
        let trigger_length = TriggerTable::encode(&entries, &mut buffer[length..]).unwrap();
        let (einj, rest) = buffer.split_at(length);
        let hest = hest(&sources);
        let step = if cfg!(miri) { 211 } else { 1 };
        for cut in (0..hest.len()).step_by(step) {
            prop_assert!(Hest::parse(&hest[..cut]).is_err());
            // Even if the table says that it is that short, no source reaches out of it.
            if let Ok(hest) = Hest::parse(&sealed(hest[..cut].to_vec())) {
                prop_assert!(hest.sources().any(|source| source.is_err()) || hest.count() == 0);
            }
        }
        for cut in (0..length).step_by(step) {
            prop_assert!(Einj::parse(&einj[..cut]).is_err());
            prop_assert!(Einj::parse(&sealed(einj[..cut].to_vec())).is_err());
        }
        for cut in (0..trigger_length).step_by(step) {
            prop_assert!(TriggerTable::parse(&rest[..cut]).is_err());
        }
    }

    #[test]
    fn a_changed_byte_gives_a_value_or_an_error(
        sources in any_sources(),
        entries in any_entries(),
        value: u8,
    ) {
        let mut einj = vec![0; 1024];
        let length = Einj::encode(&OEM, &entries, &mut einj).unwrap();
        einj.truncate(length);
        let mut erst = einj.clone();
        erst[..4].copy_from_slice(b"ERST");
        let step = if cfg!(miri) { 211 } else { 1 };
        for table in [hest(&sources), einj, erst] {
            for at in (0..table.len()).step_by(step) {
                for value in [value, !table[at], table[at] ^ 1, 0] {
                    let mut changed = table.clone();
                    changed[at] = value;
                    use_all(&changed);
                    // Not sealed past the length field: that one is to be wrong too.
                    changed[9] = 0;
                    changed[9] = changed.as_bytes().iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
                    use_all(&changed);
                }
            }
        }
    }
}
