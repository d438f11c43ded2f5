//! `take_exception`, case by case: the rules of "Exception entry" in the Arm ARM (DDI 0487).

use syndrome::{
    Abort, Access, AsyncErrorType, Delivery, Esr, Exception, ExceptionLevel, FaultStatus, Features,
    Interrupted, Level, Pstate, SError, SyncErrorType, TakeError, Target, TargetLevel,
    take_exception,
};

const PC: u64 = 0xffff_8000_1234_5678;
const FAR: u64 = 0x0000_aaaa_bbbb_ccc8;
const VBAR: u64 = 0xffff_8000_0001_0800;

/// SCTLR_EL1 without SPAN, DSSBS and SPINTMASK but with all that does not matter here.
const SCTLR: u64 = 0x30d0_0800 & !SPAN;
const SPAN: u64 = 1 << 23;
const DSSBS: u64 = 1 << 44;
const SPINTMASK: u64 = 1 << 62;
const EASE: u64 = 1 << 5;
const EXLOCKEN: u64 = 1 << 6;

const HCR_RW: u64 = 1 << 31;
const HCR_HOST: u64 = 1 << 34 | 1 << 27;

const EL0T: u64 = 0b00000;
const EL1T: u64 = 0b00100;
const EL1H: u64 = 0b00101;
const EL2T: u64 = 0b01000;
const EL2H: u64 = 0b01001;
const EL3H: u64 = 0b01101;
const USER32: u64 = 0b10000;
const SVC32: u64 = 0b10011;
const HYP32: u64 = 0b11010;

const NONE: Features = Features {
    pan: false,
    mte: false,
    ssbs: false,
    nmi: false,
    profiling_exceptions: false,
    gcs: false,
    ras: false,
    double_fault2: false,
    pfar: false,
};
const ALL: Features = Features {
    pan: true,
    mte: true,
    ssbs: true,
    nmi: true,
    profiling_exceptions: true,
    gcs: true,
    ras: true,
    double_fault2: true,
    pfar: true,
};

fn el1(features: Features) -> Target {
    Target {
        level: TargetLevel::El1,
        vbar: VBAR,
        sctlr: SCTLR,
        sctlr2: 0,
        gcscr: 0,
        features,
    }
}

fn el2(hcr: u64, features: Features) -> Target {
    Target {
        level: TargetLevel::El2 { hcr },
        ..el1(features)
    }
}

fn at(pstate: u64) -> Interrupted {
    Interrupted {
        pc: PC,
        pstate: Pstate(pstate),
    }
}

fn sea(access: Access) -> Abort {
    Abort::new(access, FaultStatus::EXTERNAL_ABORT, FAR)
}

fn walk(access: Access) -> Abort {
    Abort::new(
        access,
        FaultStatus::external_abort_on_walk(Level::Three),
        FAR,
    )
}

fn translation(access: Access) -> Abort {
    Abort::new(access, FaultStatus::translation(Level::Three), FAR)
}

fn take(from: u64, target: &Target, abort: Abort) -> Delivery {
    take_exception(&at(from), target, &Exception::Abort(abort)).expect("a legal exception")
}

/// The monitor's main case, every register: a load by an EL1 kernel meets poison.
#[test]
fn a_load_at_el1_meets_poison() {
    let interrupted = Pstate::NZCV & 0x6000_0000 | Pstate::DIT | Pstate::UAO | Pstate::BTYPE | EL1H;
    let delivery = take(interrupted, &el1(ALL), sea(Access::Read));
    assert_eq!(
        delivery,
        Delivery {
            pc: VBAR + 0x200,
            pstate: Pstate(
                0x6000_0000
                    | Pstate::PM
                    | Pstate::TCO
                    | Pstate::DIT
                    | Pstate::PAN
                    | Pstate::ALLINT
                    | 0x3c0
                    | EL1H
            ),
            elr: PC,
            spsr: Pstate(interrupted),
            esr: Esr::new(0x9600_0010),
            far: Some(FAR),
            pfar: None,
        }
    );
}

/// And the same on a core without extensions, from a user program.
#[test]
fn a_load_at_el0_meets_poison_on_an_armv8_0_core() {
    let delivery = take(0x8000_0000 | EL0T, &el1(NONE), sea(Access::Read));
    assert_eq!(
        delivery,
        Delivery {
            pc: VBAR + 0x400,
            pstate: Pstate(0x8000_03c5),
            elr: PC,
            spsr: Pstate(0x8000_0000),
            esr: Esr::new(0x9200_0010),
            far: Some(FAR),
            pfar: None,
        }
    );
}

#[test]
fn vector_depends_on_origin_and_on_ease() {
    let plain = el1(ALL);
    let ease = Target {
        sctlr2: EASE,
        ..plain
    };
    // EASE takes effect only with FEAT_DoubleFault2.
    let ease_without_feature = Target {
        features: Features {
            double_fault2: false,
            ..ALL
        },
        ..ease
    };
    let parity = Abort::new(Access::Read, FaultStatus::PARITY_ERROR, FAR);
    let origins = [(EL1T, 0x000), (EL1H, 0x200), (EL0T, 0x400), (USER32, 0x600)];
    for (from, offset) in origins {
        for abort in [
            sea(Access::Read),
            sea(Access::Fetch),
            walk(Access::Write),
            parity,
        ] {
            assert_eq!(take(from, &plain, abort).pc, VBAR + offset);
            assert_eq!(take(from, &ease_without_feature, abort).pc, VBAR + offset);
            assert_eq!(take(from, &ease, abort).pc, VBAR + offset + 0x180);
        }
        // EASE is about external aborts only.
        for access in [Access::Read, Access::Write, Access::Fetch] {
            assert_eq!(take(from, &ease, translation(access)).pc, VBAR + offset);
        }
        let serror = Exception::SError(SError::asynchronous(AsyncErrorType::Recoverable));
        for target in [&plain, &ease] {
            let delivery = take_exception(&at(from), target, &serror).unwrap();
            assert_eq!(delivery.pc, VBAR + offset + 0x180);
        }
    }
}

#[test]
fn low_bits_of_vbar_are_ignored() {
    let target = Target {
        vbar: VBAR | 0x7ff,
        ..el1(NONE)
    };
    assert_eq!(take(EL1H, &target, sea(Access::Read)).pc, VBAR + 0x200);
}

/// To EL2 the "lower level" group goes by the level just below EL2, not by the one interrupted.
#[test]
fn vector_at_el2_depends_on_what_is_just_below() {
    let cases = [
        (EL2T, HCR_RW, 0x000),
        (EL2H, HCR_RW, 0x200),
        (EL1H, HCR_RW, 0x400),
        (EL0T, HCR_RW, 0x400),
        (USER32, HCR_RW, 0x400),
        (USER32, 0, 0x600),
        (SVC32, 0, 0x600),
        // A host has only EL0 below it.
        (EL0T, HCR_RW | HCR_HOST, 0x400),
        (USER32, HCR_RW | HCR_HOST, 0x600),
    ];
    for (from, hcr, offset) in cases {
        let delivery = take(from, &el2(hcr, NONE), sea(Access::Read));
        assert_eq!(delivery.pc, VBAR + offset, "from {from:#b}, HCR {hcr:#x}");
        assert_eq!(delivery.pstate, Pstate(0x3c9));
    }
}

/// One rule of R_WTXBY a line: what is interrupted, how the target is set up, and PSTATE without
/// the DAIF = 0b1111 and M that every entry has.
#[test]
fn pstate_follows_the_rules_of_exception_entry() {
    let with = |features: fn(&mut Features)| {
        let mut set = NONE;
        features(&mut set);
        set
    };
    let pan = with(|f| f.pan = true);
    let mte = with(|f| f.mte = true);
    let ssbs = with(|f| f.ssbs = true);
    let nmi = with(|f| f.nmi = true);
    let profiling = with(|f| f.profiling_exceptions = true);
    let gcs = with(|f| f.gcs = true);
    let to_el1 = |features, sctlr| Target {
        sctlr,
        ..el1(features)
    };
    let locking = |target| Target {
        gcscr: EXLOCKEN,
        ..target
    };
    #[rustfmt::skip] // One case a line.
    let cases: &[(&str, u64, Target, u64)] = &[
        ("flags are kept", Pstate::NZCV | EL1H, el1(NONE), Pstate::NZCV),
        ("DIT is kept", Pstate::DIT | EL1H, el1(NONE), Pstate::DIT),
        ("DIT is kept from AArch32", Pstate::DIT | USER32, el1(NONE), Pstate::DIT),
        ("PAN is set if SPAN is 0", EL0T, to_el1(pan, SCTLR), Pstate::PAN),
        ("PAN stays clear if SPAN is 1", EL1H, to_el1(pan, SCTLR | SPAN), 0),
        ("PAN stays set if SPAN is 1", Pstate::PAN | EL1H, to_el1(pan, SCTLR | SPAN), Pstate::PAN),
        ("no PAN before FEAT_PAN", EL0T, to_el1(NONE, SCTLR), 0),
        ("no PAN at a plain EL2", EL1H, el2(HCR_RW, pan), 0),
        ("PAN at EL2 as a host", EL0T, el2(HCR_RW | HCR_HOST, pan), Pstate::PAN),
        ("no PAN at EL2 with E2H alone", EL1H, el2(HCR_RW | 1 << 34, pan), 0),
        ("UAO is cleared", Pstate::UAO | EL1H, el1(ALL_BUT_SETTERS), 0),
        ("BTYPE is cleared", Pstate::BTYPE | EL1H, el1(ALL_BUT_SETTERS), 0),
        ("TCO is set", EL1H, el1(mte), Pstate::TCO),
        ("TCO stays clear without FEAT_MTE", EL1H, el1(NONE), 0),
        ("SSBS is DSSBS, 0", Pstate::SSBS | EL1H, to_el1(ssbs, SCTLR), 0),
        ("SSBS is DSSBS, 1", EL1H, to_el1(ssbs, SCTLR | DSSBS), Pstate::SSBS),
        ("no SSBS without FEAT_SSBS", EL1H, to_el1(NONE, SCTLR | DSSBS), 0),
        // In AArch32 SSBS is bit 23, which AArch64 calls UAO.
        ("SSBS of AArch32 is not UAO", 1 << 23 | USER32, to_el1(ssbs, SCTLR | DSSBS), Pstate::SSBS),
        ("ALLINT is not SPINTMASK, 0", EL1H, to_el1(nmi, SCTLR), Pstate::ALLINT),
        ("ALLINT is not SPINTMASK, 1", Pstate::ALLINT | EL1H, to_el1(nmi, SCTLR | SPINTMASK), 0),
        ("PM is set", EL1H, el1(profiling), Pstate::PM),
        ("EXLOCK at the same level", EL1H, locking(el1(gcs)), Pstate::EXLOCK),
        ("EXLOCK not from a lower level", Pstate::EXLOCK | EL0T, locking(el1(gcs)), 0),
        ("EXLOCK not unless enabled", Pstate::EXLOCK | EL1H, el1(gcs), 0),
        ("SS and IL are cleared", Pstate::SS | Pstate::IL | EL1H, el1(NONE), 0),
        ("PPEND, PACM, UINJ are cleared", Pstate::PPEND | Pstate::PACM | Pstate::UINJ | EL1H, el1(NONE), 0),
        // Q, IT, GE, E and T.
        ("AArch32 leaves nothing behind", 0x0e0f_fe20 | USER32, el1(NONE), 0),
    ];
    for (rule, interrupted, target, expected) in cases {
        let mode = match target.level {
            TargetLevel::El1 => EL1H,
            TargetLevel::El2 { .. } => EL2H,
        };
        let pstate = take(*interrupted, target, sea(Access::Read)).pstate;
        assert_eq!(pstate, Pstate(expected | 0x3c0 | mode), "{rule}");
    }
}

/// Every feature whose bit this SCTLR does not set.
const ALL_BUT_SETTERS: Features = Features {
    ssbs: true,
    ras: true,
    double_fault2: true,
    pfar: true,
    ..NONE
};

#[test]
fn syndrome_depends_on_access_fault_and_origin() {
    let maintenance = Access::CacheMaintenance;
    let set = |error_type, abort| Abort {
        error_type,
        ..abort
    };
    let no_far = |abort| Abort { far: None, ..abort };
    let ea = |abort| Abort {
        external_abort_type: true,
        ..abort
    };
    let unknown = |access| Abort::new(access, FaultStatus::new(0x3f), FAR);
    // The abort, and ESR when taken from EL1 and from EL0.
    #[rustfmt::skip] // One case a line.
    let cases = [
        (sea(Access::Read), 0x9600_0010, 0x9200_0010),
        (sea(Access::Write), 0x9600_0050, 0x9200_0050),
        (sea(maintenance), 0x9600_0150, 0x9200_0150),
        (sea(Access::Fetch), 0x8600_0010, 0x8200_0010),
        (walk(Access::Read), 0x9600_0017, 0x9200_0017),
        (walk(Access::Write), 0x9600_0057, 0x9200_0057),
        (walk(maintenance), 0x9600_0157, 0x9200_0157),
        (walk(Access::Fetch), 0x8600_0017, 0x8200_0017),
        (translation(Access::Read), 0x9600_0007, 0x9200_0007),
        (translation(Access::Write), 0x9600_0047, 0x9200_0047),
        (translation(Access::Fetch), 0x8600_0007, 0x8200_0007),
        (no_far(sea(Access::Read)), 0x9600_0410, 0x9200_0410),
        (no_far(sea(Access::Fetch)), 0x8600_0410, 0x8200_0410),
        (set(SyncErrorType::Restartable, sea(Access::Read)), 0x9600_1810, 0x9200_1810),
        (set(SyncErrorType::Uncontainable, sea(Access::Fetch)), 0x8600_1010, 0x8200_1010),
        (set(SyncErrorType::Uncontainable, walk(Access::Read)), 0x9600_1017, 0x9200_1017),
        (ea(sea(Access::Read)), 0x9600_0210, 0x9200_0210),
        // SET and EA are not a translation fault's to report.
        (ea(set(SyncErrorType::Restartable, translation(Access::Read))), 0x9600_0007, 0x9200_0007),
        // A code that nobody has defined is delivered all the same.
        (unknown(Access::Write), 0x9600_007f, 0x9200_007f),
    ];
    for (abort, from_el1, from_el0) in cases {
        for (from, expected) in [
            (EL1H, from_el1),
            (EL1T, from_el1),
            (EL0T, from_el0),
            (USER32, from_el0),
        ] {
            let delivery = take(from, &el1(ALL), abort);
            assert_eq!(delivery.esr, Esr::new(expected), "{abort:?} from {from:#b}");
            assert_eq!(delivery.far, abort.far);
        }
    }
}

#[test]
fn set_is_reported_with_feat_ras_alone() {
    let abort = Abort {
        error_type: SyncErrorType::Restartable,
        ..sea(Access::Read)
    };
    let without = Features { ras: false, ..ALL };
    assert_eq!(take(EL1H, &el1(without), abort).esr, Esr::new(0x9600_0010));
}

#[test]
fn guarded_control_stack_is_reported_with_feat_gcs_alone() {
    let abort = |access| Abort {
        guarded_control_stack: true,
        ..sea(access)
    };
    let esr = |features, access| take(EL0T, &el1(features), abort(access)).esr;
    assert_eq!(esr(ALL, Access::Read), Esr::new(0x0100_9200_0010));
    assert_eq!(esr(NONE, Access::Read), Esr::new(0x9200_0010));
    assert_eq!(esr(ALL, Access::Fetch), Esr::new(0x8200_0010));
}

#[test]
fn physical_address_needs_an_external_abort_and_feat_pfar() {
    let with_pfar = |abort| Abort {
        pfar: Some(0x4567_8000),
        ..abort
    };
    let told = take(EL1H, &el1(ALL), with_pfar(sea(Access::Read)));
    assert_eq!(told.pfar, Some(0x4567_8000));
    assert_eq!(told.esr, Esr::new(0x9600_4010));

    let told = take(EL1H, &el1(ALL), with_pfar(walk(Access::Fetch)));
    assert_eq!(told.pfar, Some(0x4567_8000));
    assert_eq!(told.esr, Esr::new(0x8600_4017));

    let not_external = take(EL1H, &el1(ALL), with_pfar(translation(Access::Read)));
    assert_eq!(not_external.pfar, None);
    assert_eq!(not_external.esr, Esr::new(0x9600_0007));

    let not_implemented = take(EL1H, &el1(NONE), with_pfar(sea(Access::Read)));
    assert_eq!(not_implemented.pfar, None);
    assert_eq!(not_implemented.esr, Esr::new(0x9600_0010));
}

/// Whatever the monitor's own stage 2 abort looked like, EL1 sees none of it.
#[test]
fn no_stage_2_fields_reach_el1() {
    for access in [
        Access::Read,
        Access::Write,
        Access::CacheMaintenance,
        Access::Fetch,
    ] {
        for code in 0..64 {
            let abort = Abort::new(access, FaultStatus::new(code), FAR);
            let esr = take(EL1H, &el1(ALL), abort).esr;
            // ISV, SAS, SSE, SRT, SF, AR, VNCR and S1PTW; IL is set.
            assert_eq!(esr.bits() & 0x01ff_e080, 0, "{esr}");
            assert!(esr.is_32bit_instruction());
        }
    }
}

#[test]
fn aarch32_state_is_saved_whole_and_its_pc_in_32_bits() {
    let interrupted = 0x6e4f_fe30;
    let delivery = take(interrupted, &el1(NONE), sea(Access::Read));
    assert_eq!(delivery.spsr, Pstate(interrupted));
    assert_eq!(delivery.elr, PC & 0xffff_ffff);
}

#[test]
fn uinj_is_not_saved() {
    let delivery = take(Pstate::UINJ | EL1H, &el1(NONE), sea(Access::Read));
    assert_eq!(delivery.spsr, Pstate(EL1H));
}

#[test]
fn virtual_serror_carries_vsesr() {
    let take = |vsesr, features| {
        let exception = Exception::SError(SError::from_iss(vsesr));
        take_exception(&at(EL1H), &el1(features), &exception).expect("a legal exception")
    };
    // VSESR_EL2 holds nothing above bit 24 that matters.
    let delivery = take(0xdead_0000_0100_0011, ALL);
    assert_eq!(delivery.esr, Esr::new(0xbf00_0011));
    assert_eq!(delivery.pc, VBAR + 0x380);
    assert_eq!(delivery.elr, PC);
    assert_eq!(delivery.far, None);
    assert_eq!(delivery.pfar, None);
    assert_eq!(take(0x1811, ALL).esr, Esr::new(0xbe00_1811));
    // Without FEAT_RAS there is no VSESR: only an implementation defined syndrome exists.
    assert_eq!(take(0x1811, NONE).esr, Esr::new(0xbe00_0000));
    assert_eq!(take(0x0100_0042, NONE).esr, Esr::new(0xbf00_0042));
}

#[test]
fn illegal_origins_are_refused() {
    let to_el1 = el1(ALL);
    let to_el2 = el2(HCR_RW, ALL);
    let refused = |from, target: &Target| {
        take_exception(&at(from), target, &Exception::Abort(sea(Access::Read))).unwrap_err()
    };
    for from in [EL2H, EL2T, HYP32] {
        assert_eq!(
            refused(from, &to_el1),
            TakeError::FromHigherLevel(ExceptionLevel::El2)
        );
    }
    assert_eq!(
        refused(EL3H, &to_el2),
        TakeError::FromHigherLevel(ExceptionLevel::El3)
    );
    assert_eq!(
        refused(SVC32, &to_el1),
        TakeError::TargetInAArch32(ExceptionLevel::El1)
    );
    assert_eq!(
        refused(HYP32, &to_el2),
        TakeError::TargetInAArch32(ExceptionLevel::El2)
    );
    for reserved in [0b00001, 0b00010, 0b00110, 0b01111, 0b10100, 0b11110] {
        let error = refused(reserved, &to_el1);
        assert_eq!(error, TakeError::ReservedMode(Pstate(reserved)));
        assert!(error.to_string().contains("reserved"), "{error}");
    }
}

/// FnV can be reported for DFSC 0x10 alone; for any other fault FAR has to hold something.
#[test]
fn only_an_external_abort_off_a_walk_can_lack_an_address() {
    for code in 0..64 {
        let fault = FaultStatus::new(code);
        let abort = Abort {
            fault,
            far: None,
            ..sea(Access::Read)
        };
        let result = take_exception(&at(EL1H), &el1(ALL), &Exception::Abort(abort));
        if fault == FaultStatus::EXTERNAL_ABORT {
            assert!(result.is_ok());
        } else {
            assert_eq!(result, Err(TakeError::AddressMissing(fault)));
        }
    }
}
