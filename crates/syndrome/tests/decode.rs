//! Syndromes by value: the fields that the Arm ARM (DDI 0487) defines for them, and what is
//! printed.

use syndrome::{
    AbortCause, AsyncErrorType, DataAbort, Esr, ExceptionClass, FaultKind, FaultStatus,
    InstructionAbort, InstructionSyndrome, Level, LoadStoreType, MemoryOperation, MopsInstruction,
    MopsOption, MopsRegisters, Origin, SError, SyncErrorType, Syndrome, WriteUpdate,
};

/// Every line is a whole sentence about the register, so a mistake in any field shows.
#[rustfmt::skip] // One case a line.
const PRINTED: &[(u64, &str)] = &[
    // Data aborts. 0x96000010 is what QEMU reports for a load from a hole in physical memory.
    (0x9600_0010, "data abort, same EL: synchronous external abort, read, recoverable (UER)"),
    (0x9200_0010, "data abort, lower EL: synchronous external abort, read, recoverable (UER)"),
    (0x9600_0050, "data abort, same EL: synchronous external abort, write, recoverable (UER)"),
    (0x9600_0410, "data abort, same EL: synchronous external abort, read, recoverable (UER), FAR not valid"),
    (0x9600_1010, "data abort, same EL: synchronous external abort, read, uncontainable (UC)"),
    (0x9600_1810, "data abort, same EL: synchronous external abort, read, restartable (UEO)"),
    (0x9600_0810, "data abort, same EL: synchronous external abort, read, reserved error type 0b01"),
    (0x9600_0210, "data abort, same EL: synchronous external abort, read, recoverable (UER), EA"),
    (0x9200_0007, "data abort, lower EL: translation fault, level 3, read"),
    (0x9200_0047, "data abort, lower EL: translation fault, level 3, write"),
    (0x9200_0147, "data abort, lower EL: translation fault, level 3, cache maintenance"),
    (0x9600_0005, "data abort, same EL: translation fault, level 1, read"),
    (0x9200_004f, "data abort, lower EL: permission fault, level 3, write"),
    (0x9200_000b, "data abort, lower EL: access flag fault, level 3, read"),
    (0x9200_0000, "data abort, lower EL: address size fault, level 0, read"),
    (0x9200_0017, "data abort, lower EL: synchronous external abort on table walk, level 3, read, recoverable (UER)"),
    (0x9600_0014, "data abort, same EL: synchronous external abort on table walk, level 0, read, recoverable (UER)"),
    (0x9200_0013, "data abort, lower EL: synchronous external abort on table walk, level -1, read, recoverable (UER)"),
    (0x9200_0012, "data abort, lower EL: synchronous external abort on table walk, level -2, read, recoverable (UER)"),
    (0x9200_0018, "data abort, lower EL: synchronous parity or ECC error, read"),
    (0x9200_001b, "data abort, lower EL: synchronous parity or ECC error on table walk, level -1, read"),
    (0x9200_001f, "data abort, lower EL: synchronous parity or ECC error on table walk, level 3, read"),
    (0x9200_0011, "data abort, lower EL: tag check fault, read"),
    (0x9200_0061, "data abort, lower EL: alignment fault, write"),
    (0x9200_002b, "data abort, lower EL: translation fault, level -1, read"),
    (0x9200_0028, "data abort, lower EL: granule protection fault, read"),
    (0x9200_0022, "data abort, lower EL: granule protection fault on table walk, level -2, read"),
    (0x9200_0030, "data abort, lower EL: TLB conflict, read"),
    (0x9200_0075, "data abort, lower EL: unsupported exclusive or atomic access"),
    (0x9600_003f, "data abort, same EL: reserved fault status 0x3f, read"),
    (0x0100_9200_0007, "data abort, lower EL: translation fault, level 3, read, guarded control stack"),
    // As EL2 sees them: a described load, and a stage 1 walk that met a stage 2 fault.
    (0x93c0_8007, "data abort, lower EL: translation fault, level 3, read, 8 bytes x0"),
    (0x9345_0047, "data abort, lower EL: translation fault, level 3, write, 2 bytes w5"),
    (0x9200_0087, "data abort, lower EL: translation fault, level 3, read, on stage 1 walk"),
    // Instruction aborts.
    (0x8200_0010, "instruction abort, lower EL: synchronous external abort, recoverable (UER)"),
    (0x8600_0010, "instruction abort, same EL: synchronous external abort, recoverable (UER)"),
    (0x8200_0410, "instruction abort, lower EL: synchronous external abort, recoverable (UER), FAR not valid"),
    (0x8200_0017, "instruction abort, lower EL: synchronous external abort on table walk, level 3, recoverable (UER)"),
    (0x8600_000f, "instruction abort, same EL: permission fault, level 3"),
    // SError.
    (0xbe00_0000, "SError: uncategorised"),
    (0xbe00_0011, "SError: asynchronous, uncontainable (UC)"),
    (0xbe00_0411, "SError: asynchronous, unrecoverable (UEU)"),
    (0xbe00_0811, "SError: asynchronous, restartable (UEO)"),
    (0xbe00_0c11, "SError: asynchronous, recoverable (UER)"),
    (0xbe00_1811, "SError: asynchronous, corrected (CE)"),
    (0xbe00_1a11, "SError: asynchronous, corrected (CE), EA"),
    (0xbe00_1011, "SError: asynchronous, reserved error type 0b100"),
    (0xbe00_0002, "SError: reserved fault code 0x02"),
    (0xbf00_0011, "SError: implementation defined 0x000011"),
    // Memory operations.
    (0x9e01_0022, "memory operation exception: CPYM x0, x1, x2, registers in option A format"),
    (0x9e02_0022, "memory operation exception: CPYM x0, x1, x2, registers in option A format, wrong for this PE"),
    (0x9e07_0c85, "memory operation exception: CPYE x3, x4, x5, registers in option B format, wrong for this PE"),
    (0x9f04_0c85, "memory operation exception: SETE x3, x4, x5, registers in option B format"),
    (0x9f81_7fff, "memory operation exception: SETGM x31, x31, x31, registers in option A format"),
    // Debug exceptions.
    (0xc200_0022, "breakpoint, lower EL: matched"),
    (0xca00_0022, "software step, lower EL: nothing stepped"),
    (0xcb00_0022, "software step, lower EL: stepped"),
    (0xcf00_0062, "software step, same EL: stepped a load-exclusive"),
    (0xd200_0022, "watchpoint, lower EL: read"),
    (0xd60e_0062, "watchpoint, same EL: write, watchpoint 3"),
    (0xd200_0562, "watchpoint, lower EL: cache maintenance, FAR not valid"),
    (0xf200_0001, "BRK from AArch64: immediate 0x0001"),
    // Calls and traps.
    (0x5600_0000, "SVC from AArch64: immediate 0x0000"),
    (0x5a00_beef, "HVC from AArch64: immediate 0xbeef"),
    (0x5e00_0000, "SMC from AArch64: immediate 0x0000"),
    (0x6224_0064, "trapped MSR, MRS or system instruction: write of S2_0_C0_C2_2, x3"),
    (0x623f_ffff, "trapped MSR, MRS or system instruction: read of S3_7_C15_C15_7, x31"),
    // Classes without a typed view, and ones that nobody has defined.
    (0x0200_0000, "unknown reason: ISS 0x0000000, ISS2 0x000000"),
    (0x8a00_0000, "PC alignment fault: ISS 0x0000000, ISS2 0x000000"),
    (0x0a00_0001, "reserved exception class 0x02: ISS 0x0000001, ISS2 0x000000"),
    (0x00ab_cdef_ffff_ffff, "reserved exception class 0x3f: ISS 0x1ffffff, ISS2 0xabcdef"),
];

#[test]
fn every_known_syndrome_prints_as_a_sentence() {
    for &(value, text) in PRINTED {
        let esr = Esr::new(value);
        assert_eq!(esr.to_string(), format!("{value:#010x}: {text}"));
        assert_eq!(Esr::from(esr.decode()), esr);
    }
}

fn data(value: u64) -> DataAbort {
    match Esr::new(value).decode() {
        Syndrome::DataAbort(abort) => abort,
        other => panic!("{value:#x} is {other:?}"),
    }
}

fn instruction(value: u64) -> InstructionAbort {
    match Esr::new(value).decode() {
        Syndrome::InstructionAbort(abort) => abort,
        other => panic!("{value:#x} is {other:?}"),
    }
}

fn serror(value: u64) -> SError {
    match Esr::new(value).decode() {
        Syndrome::SError(serror) => serror,
        other => panic!("{value:#x} is {other:?}"),
    }
}

/// The tables of DFSC and IFSC, whole: every code not in here is reserved.
#[test]
fn fault_status_follows_the_table() {
    use FaultKind as K;
    use Level::{MinusOne, MinusTwo, One, Three, Two, Zero};
    let table = [
        (0b00_0000, K::AddressSize(Zero)),
        (0b00_0001, K::AddressSize(One)),
        (0b00_0010, K::AddressSize(Two)),
        (0b00_0011, K::AddressSize(Three)),
        (0b00_0100, K::Translation(Zero)),
        (0b00_0101, K::Translation(One)),
        (0b00_0110, K::Translation(Two)),
        (0b00_0111, K::Translation(Three)),
        (0b00_1000, K::AccessFlag(Zero)),
        (0b00_1001, K::AccessFlag(One)),
        (0b00_1010, K::AccessFlag(Two)),
        (0b00_1011, K::AccessFlag(Three)),
        (0b00_1100, K::Permission(Zero)),
        (0b00_1101, K::Permission(One)),
        (0b00_1110, K::Permission(Two)),
        (0b00_1111, K::Permission(Three)),
        (0b01_0000, K::ExternalAbort),
        (0b01_0001, K::TagCheck),
        (0b01_0010, K::ExternalAbortOnWalk(MinusTwo)),
        (0b01_0011, K::ExternalAbortOnWalk(MinusOne)),
        (0b01_0100, K::ExternalAbortOnWalk(Zero)),
        (0b01_0101, K::ExternalAbortOnWalk(One)),
        (0b01_0110, K::ExternalAbortOnWalk(Two)),
        (0b01_0111, K::ExternalAbortOnWalk(Three)),
        (0b01_1000, K::ParityError),
        (0b01_1011, K::ParityErrorOnWalk(MinusOne)),
        (0b01_1100, K::ParityErrorOnWalk(Zero)),
        (0b01_1101, K::ParityErrorOnWalk(One)),
        (0b01_1110, K::ParityErrorOnWalk(Two)),
        (0b01_1111, K::ParityErrorOnWalk(Three)),
        (0b10_0001, K::Alignment),
        (0b10_0010, K::GranuleProtectionOnWalk(MinusTwo)),
        (0b10_0011, K::GranuleProtectionOnWalk(MinusOne)),
        (0b10_0100, K::GranuleProtectionOnWalk(Zero)),
        (0b10_0101, K::GranuleProtectionOnWalk(One)),
        (0b10_0110, K::GranuleProtectionOnWalk(Two)),
        (0b10_0111, K::GranuleProtectionOnWalk(Three)),
        (0b10_1000, K::GranuleProtection),
        (0b10_1001, K::AddressSize(MinusOne)),
        (0b10_1010, K::Translation(MinusTwo)),
        (0b10_1011, K::Translation(MinusOne)),
        (0b10_1100, K::AddressSize(MinusTwo)),
        (0b11_0000, K::TlbConflict),
        (0b11_0001, K::UnsupportedAtomicUpdate),
        (0b11_0100, K::Lockdown),
        (0b11_0101, K::UnsupportedExclusive),
    ];
    for code in 0..64 {
        let expected = table
            .iter()
            .find(|(known, _)| *known == code)
            .map_or(K::Reserved(code), |(_, kind)| *kind);
        let status = FaultStatus::new(code);
        assert_eq!(status.kind(), expected, "{code:#x}");
        assert_eq!(FaultStatus::from_kind(expected), Some(status));
        assert_eq!(status.code(), code);
    }
}

#[test]
fn kinds_that_no_code_stands_for_do_not_encode() {
    for level in [Level::MinusTwo, Level::MinusOne] {
        assert_eq!(FaultStatus::from_kind(FaultKind::AccessFlag(level)), None);
        assert_eq!(FaultStatus::from_kind(FaultKind::Permission(level)), None);
    }
    let parity = FaultKind::ParityErrorOnWalk(Level::MinusTwo);
    assert_eq!(FaultStatus::from_kind(parity), None);
    // 0x10 is not reserved, and 0x50 is not a code at all.
    assert_eq!(FaultStatus::from_kind(FaultKind::Reserved(0x10)), None);
    assert_eq!(FaultStatus::from_kind(FaultKind::Reserved(0x7f)), None);
}

#[test]
fn levels_have_numbers() {
    for number in -2..=3 {
        assert_eq!(Level::new(number).map(Level::number), Some(number));
    }
    assert_eq!(Level::new(-3), None);
    assert_eq!(Level::new(4), None);
}

/// A memory error must never reach the page-fault resolver, nor a fault the memory-error path.
#[test]
fn cause_is_decided_by_fault_status() {
    for code in 0..64 {
        let status = FaultStatus::new(code);
        let expected = match code {
            0x00..=0x0f | 0x11 | 0x21 | 0x29..=0x2c => AbortCause::Fault,
            0x10 | 0x12..=0x18 | 0x1b..=0x1f => AbortCause::MemoryError,
            _ => AbortCause::Other,
        };
        assert_eq!(status.cause(), expected, "{status:?}");
        assert_eq!(
            status.is_external_abort(),
            expected == AbortCause::MemoryError
        );
        assert_eq!(
            status.on_table_walk(),
            matches!(code, 0x12..=0x17 | 0x1b..=0x1f | 0x22..=0x27)
        );
        for same in [0x92, 0x96, 0x82, 0x86] {
            let cause = match Esr::new(same << 24 | u64::from(code)).decode() {
                Syndrome::DataAbort(abort) => abort.cause(),
                Syndrome::InstructionAbort(abort) => abort.cause(),
                other => panic!("{other:?}"),
            };
            assert_eq!(cause, expected);
        }
    }
}

/// FnV exists for DFSC 0x10 alone; there it is final, and elsewhere bit 10 means something else.
#[test]
fn far_is_withheld_when_fnv_says_so() {
    for code in 0..64 {
        let fnv = 1 << 10;
        let exists = code == 0x10;
        let set = data(0x9600_0000 | fnv | code);
        let clear = data(0x9600_0000 | code);
        assert_eq!(set.far_not_valid(), exists.then_some(true));
        assert_eq!(clear.far_not_valid(), exists.then_some(false));
        assert_eq!(set.address(0xdead), (!exists).then_some(0xdead));
        assert_eq!(clear.address(0xdead), Some(0xdead));
        let fetch = instruction(0x8600_0000 | fnv | code);
        assert_eq!(fetch.address(0xdead), (!exists).then_some(0xdead));
    }
}

#[test]
fn error_fields_exist_for_external_aborts_alone() {
    for code in 0..64 {
        let exists = matches!(code, 0x10 | 0x12..=0x17);
        let parity = matches!(code, 0x18 | 0x1b..=0x1f);
        // SET = 0b11, WU = 0b10, PFV and EA.
        let abort = data(0x9602_5a00 | code);
        assert_eq!(
            abort.error_type(),
            exists.then_some(SyncErrorType::Restartable)
        );
        assert_eq!(
            abort.write_update(),
            exists.then_some(WriteUpdate::NotUpdated)
        );
        assert_eq!(
            abort.physical_address(0x4000_0000),
            exists.then_some(0x4000_0000)
        );
        assert_eq!(
            abort.external_abort_type(),
            (exists || parity).then_some(true)
        );
        let fetch = instruction(0x8600_5a00 | code);
        assert_eq!(
            fetch.error_type(),
            exists.then_some(SyncErrorType::Restartable)
        );
        assert_eq!(
            fetch.physical_address(0x4000_0000),
            exists.then_some(0x4000_0000)
        );
        // The same two bits are LST for the faults that can stop a 64-byte access.
        let lst = matches!(code, 0x04..=0x0f | 0x2a | 0x2b);
        assert_eq!(
            abort.load_store_type(),
            lst.then_some(LoadStoreType::St64bv0)
        );
    }
}

#[test]
fn an_instruction_syndrome_is_read_only_under_isv() {
    let described = data(0x93a1_c047);
    assert_eq!(
        described.instruction(),
        Some(InstructionSyndrome {
            size: 4,
            sign_extend: true,
            register: 1,
            is_64bit_register: true,
            acquire_release: true,
        })
    );
    assert!(!described.far_not_precise());
    let undescribed = data(0x92a1_c047);
    assert_eq!(undescribed.instruction(), None);
    assert!(undescribed.far_not_precise(), "without ISV bit 15 is FnP");
}

#[test]
fn write_is_unknown_where_hardware_may_report_either() {
    assert_eq!(data(0x9600_0050).is_write(), Some(true));
    assert_eq!(data(0x9600_0010).is_write(), Some(false));
    assert_eq!(data(0x9600_0071).is_write(), None);
    assert_eq!(data(0x9600_0075).is_write(), None);
}

#[test]
fn register_fields_are_where_they_belong() {
    let esr = Esr::new(0x00ab_cdef_9612_3456);
    assert_eq!(esr.class(), ExceptionClass::DATA_ABORT_SAME);
    assert!(esr.is_32bit_instruction());
    assert_eq!(esr.iss(), 0x012_3456);
    assert_eq!(esr.iss2(), 0xab_cdef);
    assert!(!Esr::new(0x9400_0000).is_32bit_instruction());
    assert_eq!(data(0x9600_0010).origin(), Origin::SameEl);
    assert_eq!(data(0x9200_0010).origin(), Origin::LowerEl);
    assert!(data(0x9600_2010).is_nested_register_access());
}

#[test]
fn serror_fields_exist_for_an_asynchronous_error_alone() {
    // ELS, WU = 0b11, VFV, PFV, IESB, AET = UER, EA, WnRV, WnR.
    let full = serror(0xbe07_eed1);
    assert_eq!(full.error_type(), Some(AsyncErrorType::Recoverable));
    assert_eq!(full.external_abort_type(), Some(true));
    assert_eq!(full.by_implicit_barrier(), Some(true));
    assert_eq!(full.triggered_by_elr(), Some(true));
    assert_eq!(full.write_update(), Some(WriteUpdate::Updated));
    assert_eq!(full.is_write(), Some(true));
    assert_eq!(full.address(0x1000), Some(0x1000));
    assert_eq!(full.physical_address(0x2000), Some(0x2000));

    // The same bits in an uncategorised and in an implementation defined syndrome.
    for hidden in [serror(0xbe07_eec0), serror(0xbf07_eed1)] {
        assert_eq!(hidden.error_type(), None);
        assert_eq!(hidden.external_abort_type(), None);
        assert_eq!(hidden.by_implicit_barrier(), None);
        assert_eq!(hidden.triggered_by_elr(), None);
        assert_eq!(hidden.write_update(), None);
        assert_eq!(hidden.is_write(), None);
        assert_eq!(hidden.address(0x1000), None);
        assert_eq!(hidden.physical_address(0x2000), None);
    }
    assert_eq!(
        serror(0xbf07_eed1).implementation_defined(),
        Some(0x07_eed1)
    );
    // WnR counts only if WnRV vouches for it.
    assert_eq!(serror(0xbe00_0051).is_write(), None);
}

#[test]
fn a_deferred_serror_decodes_from_its_register() {
    // DISR_EL1 after an ESB: A (bit 31) set, AET corrected, DFSC asynchronous.
    let deferred = SError::from_iss(0x8000_1811);
    assert_eq!(deferred.error_type(), Some(AsyncErrorType::Corrected));
    assert_eq!(deferred.esr(), Esr::new(0xbe00_1811));
}

#[test]
fn memory_operation_format_is_option_a_xor_wrong_option() {
    let formats = [
        (0b00, MopsOption::B),
        (0b01, MopsOption::A),
        (0b10, MopsOption::A),
        (0b11, MopsOption::B),
    ];
    for (bits, option) in formats {
        let Syndrome::MemoryOperation(view) = Esr::new(0x9e00_0022 | bits << 16).decode() else {
            panic!("not a memory operation");
        };
        assert_eq!(view.option(), option);
        assert_eq!(view.option_a(), bits & 1 == 1);
        assert_eq!(view.wrong_option(), bits & 2 == 2);
    }
}

#[test]
fn encoders_build_the_values_they_should() {
    let data = |fault| DataAbort::new(Origin::SameEl, fault);
    let sea = data(FaultStatus::EXTERNAL_ABORT);
    let fetch = InstructionAbort::new(
        Origin::LowerEl,
        FaultStatus::external_abort_on_walk(Level::Three),
    );
    let registers = MopsRegisters {
        destination: 3,
        source: 4,
        size: 5,
    };
    // Only the low five bits of a register number count.
    let too_large = MopsRegisters {
        destination: 0xff,
        source: 0xff,
        size: 0xff,
    };
    let cases: &[(Esr, u64)] = &[
        (sea.esr(), 0x9600_0010),
        (sea.with_write(true).esr(), 0x9600_0050),
        (sea.with_far_not_valid(true).esr(), 0x9600_0410),
        (
            sea.with_far_not_valid(true).with_far_not_valid(false).esr(),
            0x9600_0010,
        ),
        (
            sea.with_error_type(SyncErrorType::Uncontainable)
                .with_external_abort_type(true)
                .with_physical_address_valid(true)
                .esr(),
            0x9600_5210,
        ),
        // Fields that the fault does not have stay clear.
        (
            data(FaultStatus::translation(Level::Three))
                .with_far_not_valid(true)
                .with_error_type(SyncErrorType::Restartable)
                .with_external_abort_type(true)
                .with_physical_address_valid(true)
                .esr(),
            0x9600_0007,
        ),
        (
            DataAbort::new(Origin::LowerEl, FaultStatus::ALIGNMENT)
                .with_cache_maintenance(true)
                .with_write(true)
                .with_stage1_walk(true)
                .esr(),
            0x9200_01e1,
        ),
        (sea.with_guarded_control_stack(true).esr(), 0x0100_9600_0010),
        (fetch.esr(), 0x8200_0017),
        (
            SError::asynchronous(AsyncErrorType::Corrected).esr(),
            0xbe00_1811,
        ),
        (
            SError::asynchronous(AsyncErrorType::Restartable)
                .with_external_abort_type(true)
                .esr(),
            0xbe00_0a11,
        ),
        (
            SError::from_iss(0).with_external_abort_type(true).esr(),
            0xbe00_0000,
        ),
        (
            MemoryOperation::new(MopsInstruction::Copy, registers, MopsOption::A).esr(),
            0x9e01_0c85,
        ),
        (
            MemoryOperation::new(MopsInstruction::SetTags, too_large, MopsOption::B).esr(),
            0x9f80_7fff,
        ),
        (
            MemoryOperation::new(MopsInstruction::Set, registers, MopsOption::B)
                .with_from_epilogue(true)
                .with_options(0b10)
                .esr(),
            0x9f14_0c85,
        ),
        (
            MemoryOperation::new(MopsInstruction::Copy, registers, MopsOption::B)
                .with_wrong_option(true)
                .esr(),
            0x9e03_0c85,
        ),
    ];
    for (built, expected) in cases {
        assert_eq!(*built, Esr::new(*expected));
    }
}
