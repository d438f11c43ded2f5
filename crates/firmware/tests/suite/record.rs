//! Records: what the guest reads is what was meant, down to the bytes that Linux looks at.

use control::{Notice, Policy};
use cper::{Entry, MemoryErrorType, Section, SectionFlags, Severity, StatusBlock};
use firmware::{Block, Consumer, Record};
use proptest::prelude::*;

pub(crate) const ADDRESS: u64 = 0x1_2345_6789;

pub(crate) const CONSUMER: Consumer = Consumer {
    mpidr: 0x8000_0003,
    midr: 0x410f_d0c1,
    virtual_address: Some(0xffff_8000_1234_5678),
    fetch: false,
    restartable: false,
    uncontainable: false,
};

fn entry(block: &StatusBlock<'_>) -> (Severity, SectionFlags, Section<'static>) {
    let entries: Vec<Entry<'_>> = block.entries().collect();
    let [entry] = entries[..] else {
        panic!("{} sections", entries.len());
    };
    let section = match entry.section().unwrap() {
        Section::Memory(section) => Section::Memory(section),
        other => panic!("{other:?}"),
    };
    (entry.info.severity, entry.info.flags, section)
}

/// Checks a record with a memory section, and returns its kind.
fn memory(record: &Record, severity: Severity, flags: SectionFlags) -> MemoryErrorType {
    let block = record.encode(7);
    let block = StatusBlock::parse(block.as_bytes()).unwrap();
    assert_eq!(block.severity(), severity);
    let (section_severity, section_flags, section) = entry(&block);
    assert_eq!((section_severity, section_flags), (severity, flags));
    let Section::Memory(section) = section else {
        unreachable!();
    };
    let address = section.physical_address();
    assert_eq!(address, record.physical_address);
    assert_eq!(section.physical_address_mask(), address.map(|_| !63));
    section.error_type().unwrap()
}

#[test]
fn a_hit_is_a_recoverable_memory_error_unless_the_policy_says_otherwise() {
    let none = SectionFlags::empty();
    let hit = |policy| Record::hit(policy, ADDRESS, CONSUMER);
    let multi_bit = MemoryErrorType::MultiBitEcc;
    let plain = hit(Policy::empty());
    assert_eq!(plain.physical_address, Some(ADDRESS));
    assert_eq!(memory(&plain, Severity::Recoverable, none), multi_bit);
    let fatal = hit(Policy::FATAL | Policy::ONE_SHOT);
    assert_eq!(memory(&fatal, Severity::Fatal, none), multi_bit);
    let nowhere = hit(Policy::NO_PHYSICAL_ADDRESS);
    assert_eq!(nowhere.physical_address, None);
    assert_eq!(memory(&nowhere, Severity::Recoverable, none), multi_bit);
}

#[test]
fn every_notice_has_its_severity_and_kind() {
    use MemoryErrorType::{MultiBitEcc, ScrubUncorrected, SingleBitEcc};
    use Severity::{Corrected, Fatal, Recoverable};
    let none = SectionFlags::empty();
    for (notice, severity, flags, kind) in [
        (Notice::Corrected, Corrected, none, SingleBitEcc),
        (
            Notice::ThresholdExceeded,
            Corrected,
            SectionFlags::THRESHOLD_EXCEEDED,
            SingleBitEcc,
        ),
        (
            Notice::PatrolScrub,
            Recoverable,
            SectionFlags::LATENT,
            ScrubUncorrected,
        ),
        (Notice::SErrorCorrected, Corrected, none, SingleBitEcc),
        (Notice::SErrorRestartable, Recoverable, none, MultiBitEcc),
        (Notice::SErrorRecoverable, Recoverable, none, MultiBitEcc),
        (
            Notice::SErrorUncontainable,
            Fatal,
            SectionFlags::CONTAINMENT_WARNING,
            MultiBitEcc,
        ),
    ] {
        let record = Record::notice(notice, ADDRESS);
        assert_eq!(memory(&record, severity, flags), kind, "{notice}");
        assert_eq!(record.physical_address, Some(ADDRESS));
    }
}

#[test]
fn a_memory_record_has_linux_s_layout() {
    let block = Record::hit(Policy::empty(), ADDRESS, CONSUMER).encode(0x1122_3344_5566_7788);
    let block = block.as_bytes();
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
    assert_eq!(block.len(), 20 + 72 + 80 + 8);
    assert_eq!(u32_at(0), 1 | 1 << 4, "uncorrected, one entry");
    assert_eq!(
        (u32_at(4), u32_at(8)),
        (172, 8),
        "raw data behind the entries"
    );
    assert_eq!(u32_at(12), 152, "length of the entries");
    assert_eq!(u32_at(16), 0, "recoverable");
    let memory = [
        0x14, 0x11, 0xbc, 0xa5, 0x64, 0x6f, 0xde, 0x4e, 0xb8, 0x63, 0x3e, 0x83, 0xed, 0x7c, 0x83,
        0xb1,
    ];
    assert_eq!(block[20..36], memory);
    assert_eq!(u32_at(36), 0, "recoverable");
    assert_eq!(
        block[40..44],
        [0x00, 0x03, 0, 0],
        "revision 3.0, nothing valid, no flags"
    );
    assert_eq!(u32_at(44), 80, "length of the section");
    assert_eq!(
        u64_at(92),
        1 << 1 | 1 << 2 | 1 << 14,
        "address, mask and type are valid"
    );
    assert_eq!((u64_at(108), u64_at(116)), (ADDRESS, !63));
    assert_eq!(block[164], 3, "multi-bit ECC");
    assert_eq!(u64_at(172), 0x1122_3344_5566_7788);
}

#[test]
fn a_processor_record_has_linux_s_layout() {
    let block = Record::hit(Policy::PROCESSOR, ADDRESS, CONSUMER).encode(1);
    let block = block.as_bytes();
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
    assert_eq!(block.len(), 20 + 72 + 72 + 8);
    let processor = [
        0x16, 0x3d, 0x9e, 0xe1, 0x11, 0xbc, 0xe4, 0x11, 0x9c, 0xaa, 0xc2, 0x05, 0x1d, 0x5d, 0x46,
        0xb0,
    ];
    assert_eq!(block[20..36], processor);
    assert_eq!(
        u32_at(92),
        0b111,
        "MPIDR, affinity level and running state are valid"
    );
    assert_eq!(u32_at(96), 1, "one error, no contexts");
    assert_eq!(u32_at(100), 72, "length of the section");
    assert_eq!((u64_at(108), u64_at(116)), (CONSUMER.mpidr, CONSUMER.midr));
    assert_eq!(u32_at(124), 1, "running");
    // The error.
    assert_eq!(block[132..134], [0, 32], "version and length");
    assert_eq!(block[136], 1 << 1, "a cache, in the encoding of Linux 7");
    assert_eq!(u64_at(148), 0xffff_8000_1234_5678);
    assert_eq!(u64_at(156), ADDRESS);
}

#[test]
fn a_processor_record_says_what_the_policy_says() {
    let error = |policy, consumer| {
        let block = Record::hit(policy | Policy::PROCESSOR, ADDRESS, consumer).encode(1);
        let block = StatusBlock::parse(block.as_bytes()).unwrap();
        let section = block.entries().next().unwrap().section().unwrap();
        let Section::ArmProcessor(section) = section else {
            panic!("{section:?}");
        };
        section.errors[0]
    };
    let plain = error(Policy::empty(), CONSUMER);
    let detail = plain.detail().unwrap();
    assert_eq!(plain.kinds(), cper::ArmErrorKinds::CACHE);
    assert_eq!(detail.transaction(), Some(cper::Transaction::Data));
    assert_eq!(detail.operation(), Some(cper::Operation::DataRead));
    assert_eq!(detail.precise_pc(), Some(true));
    assert_eq!(detail.restartable_pc(), Some(false));
    assert_eq!(detail.context_corrupt(), Some(false));
    assert_eq!(detail.corrected(), Some(false));

    assert_eq!(error(Policy::NO_FAR, CONSUMER).virtual_address(), None);
    assert_eq!(
        error(Policy::NO_PHYSICAL_ADDRESS, CONSUMER).physical_address(),
        None
    );
    let restartable = error(Policy::RESTARTABLE, CONSUMER).detail().unwrap();
    assert_eq!(restartable.restartable_pc(), Some(true));
    let spread = error(Policy::UNCONTAINABLE, CONSUMER).detail().unwrap();
    assert_eq!(spread.precise_pc(), Some(false));
    assert_eq!(spread.context_corrupt(), Some(true));
    let fetch = Consumer {
        fetch: true,
        ..CONSUMER
    };
    let fetch = error(Policy::empty(), fetch).detail().unwrap();
    assert_eq!(fetch.transaction(), Some(cper::Transaction::Instruction));
    assert_eq!(fetch.operation(), Some(cper::Operation::InstructionFetch));
}

pub(crate) fn any_severity() -> impl Strategy<Value = Severity> {
    (0u32..4).prop_map(Severity::from_code)
}

prop_compose! {
    pub(crate) fn any_consumer()(
        mpidr: u64,
        midr: u64,
        virtual_address: Option<u64>,
        [fetch, restartable, uncontainable]: [bool; 3],
    ) -> Consumer {
        Consumer { mpidr, midr, virtual_address, fetch, restartable, uncontainable }
    }
}

prop_compose! {
    pub(crate) fn any_record()(
        severity in any_severity(),
        flags: u32,
        physical_address: Option<u64>,
        kind: u8,
        consumer in proptest::option::of(any_consumer()),
    ) -> Record {
        Record {
            severity,
            flags: SectionFlags::from_bits_retain(flags),
            physical_address,
            kind: MemoryErrorType::from_code(kind),
            consumer,
        }
    }
}

proptest! {
    #[test]
    fn an_encoded_record_fits(record in any_record(), number: u64) {
        let block = record.encode(number);
        prop_assert!(block.as_bytes().len() <= Block::MAX_LENGTH);
        prop_assert!(block.as_bytes().len() <= firmware::window::BLOCK_LENGTH);
        let parsed = StatusBlock::parse(block.as_bytes()).unwrap();
        prop_assert!(parsed.header().is_pending());
        prop_assert_eq!(parsed.severity(), record.severity);
        prop_assert_eq!(parsed.raw_data(), number.to_le_bytes());
        prop_assert!(parsed.entries().next().unwrap().section().is_ok());
    }
}
