//! What holds for every input: nothing panics, nothing is lost, and an exception always lands on
//! a vector with the state that the rules of exception entry allow.

use proptest::prelude::*;
use syndrome::{
    Abort, Access, AsyncErrorType, DataAbort, Delivery, Esr, Exception, ExceptionClass,
    FaultStatus, Features, InstructionAbort, Interrupted, MemoryOperation, MopsInstruction,
    MopsOption, MopsRegisters, Origin, Pstate, SError, SyncErrorType, Syndrome, Target,
    TargetLevel, take_exception,
};

/// Miri interprets: fewer cases, and no file of past failures, which it has no access to.
fn config() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig {
            cases: 16,
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    } else {
        ProptestConfig::with_cases(4096)
    }
}

/// Any register value, half of them of a class that has a typed view.
fn any_esr() -> impl Strategy<Value = u64> {
    let viewed = prop::sample::select(vec![
        0x15u64, 0x16, 0x17, 0x18, 0x20, 0x21, 0x24, 0x25, 0x27, 0x2f, 0x30, 0x31, 0x32, 0x33,
        0x34, 0x35, 0x3c,
    ]);
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), viewed).prop_map(|(value, class)| value & !(0x3f << 26) | class << 26),
    ]
}

fn any_origin() -> impl Strategy<Value = Origin> {
    prop::sample::select(vec![Origin::LowerEl, Origin::SameEl])
}

fn any_fault() -> impl Strategy<Value = FaultStatus> {
    any::<u8>().prop_map(FaultStatus::new)
}

fn any_error_type() -> impl Strategy<Value = SyncErrorType> {
    any::<u8>().prop_map(SyncErrorType::from_bits)
}

prop_compose! {
    fn any_features()(
        [pan, mte, ssbs, nmi, profiling_exceptions] in any::<[bool; 5]>(),
        [gcs, ras, double_fault2, pfar] in any::<[bool; 4]>(),
    ) -> Features {
        Features {
            pan, mte, ssbs, nmi, profiling_exceptions, gcs, ras, double_fault2, pfar,
        }
    }
}

prop_compose! {
    fn any_target()(
        hcr in any::<Option<u64>>(),
        [vbar, sctlr, sctlr2, gcscr] in any::<[u64; 4]>(),
        features in any_features(),
    ) -> Target {
        let level = hcr.map_or(TargetLevel::El1, |hcr| TargetLevel::El2 { hcr });
        Target { level, vbar, sctlr, sctlr2, gcscr, features }
    }
}

prop_compose! {
    fn any_abort()(
        access in prop::sample::select(vec![
            Access::Read, Access::Write, Access::CacheMaintenance, Access::Fetch,
        ]),
        fault in any_fault(),
        far in any::<Option<u64>>(),
        pfar in any::<Option<u64>>(),
        error_type in any_error_type(),
        [external_abort_type, guarded_control_stack] in any::<[bool; 2]>(),
    ) -> Abort {
        Abort {
            access, fault, far, pfar, error_type, external_abort_type, guarded_control_stack,
        }
    }
}

fn any_exception() -> impl Strategy<Value = Exception> {
    prop_oneof![
        3 => any_abort().prop_map(Exception::Abort),
        1 => any::<u64>().prop_map(|vsesr| Exception::SError(SError::from_iss(vsesr))),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_value_decodes_prints_and_encodes_to_itself(value in any_esr()) {
        let esr = Esr::new(value);
        let syndrome = esr.decode();
        prop_assert_eq!(Esr::from(syndrome), esr);
        prop_assert_eq!(esr.bits(), value);
        for text in [esr.to_string(), format!("{esr:?}"), format!("{syndrome:?}")] {
            prop_assert!(!text.is_empty() && !text.contains('\n'), "{}", text);
        }
    }

    #[test]
    fn open_enumerations_keep_every_code(code in 0u8..64) {
        prop_assert_eq!(ExceptionClass::new(code).code(), code);
        prop_assert_eq!(FaultStatus::new(code).code(), code);
        let kind = FaultStatus::new(code).kind();
        prop_assert_eq!(FaultStatus::from_kind(kind), Some(FaultStatus::new(code)));
        prop_assert_eq!(SyncErrorType::from_bits(code).bits(), code & 0b11);
        prop_assert_eq!(AsyncErrorType::from_bits(code).bits(), code & 0b111);
        for text in [
            ExceptionClass::new(code).to_string(),
            FaultStatus::new(code).to_string(),
            SyncErrorType::from_bits(code).to_string(),
            AsyncErrorType::from_bits(code).to_string(),
        ] {
            prop_assert!(!text.is_empty());
        }
    }

    /// What an encoder is given, the decoder finds, wherever the fault has the field at all.
    #[test]
    fn a_built_data_abort_decodes_to_its_parts(
        origin in any_origin(),
        fault in any_fault(),
        error_type in any_error_type(),
        [write, fnv, ea, pfv, cm, s1ptw, gcs] in any::<[bool; 7]>(),
        address in any::<u64>(),
    ) {
        let built = DataAbort::new(origin, fault)
            .with_write(write)
            .with_far_not_valid(fnv)
            .with_external_abort_type(ea)
            .with_physical_address_valid(pfv)
            .with_cache_maintenance(cm)
            .with_stage1_walk(s1ptw)
            .with_error_type(error_type)
            .with_guarded_control_stack(gcs);
        let Syndrome::DataAbort(abort) = built.esr().decode() else {
            panic!("{built:?}");
        };
        prop_assert_eq!(abort, built);
        prop_assert_eq!(abort.origin(), origin);
        prop_assert_eq!(abort.fault(), fault);
        prop_assert_eq!(abort.is_write().unwrap_or(write), write);
        prop_assert_eq!(abort.far_not_valid().unwrap_or(fnv), fnv);
        prop_assert_eq!(abort.address(address).is_some(), abort.far_not_valid() != Some(true));
        prop_assert_eq!(abort.external_abort_type().unwrap_or(ea), ea);
        prop_assert_eq!(abort.is_cache_maintenance(), cm);
        prop_assert_eq!(abort.on_stage1_walk(), s1ptw);
        prop_assert_eq!(abort.is_guarded_control_stack(), gcs);
        prop_assert_eq!(abort.instruction(), None);
        if let Some(found) = abort.error_type() {
            prop_assert_eq!(found, error_type);
            prop_assert_eq!(abort.physical_address(address).is_some(), pfv);
        } else {
            prop_assert_eq!(abort.physical_address(address), None);
        }
        prop_assert!(abort.esr().is_32bit_instruction());
    }

    #[test]
    fn a_built_instruction_abort_decodes_to_its_parts(
        origin in any_origin(),
        fault in any_fault(),
        error_type in any_error_type(),
        [fnv, ea, pfv, s1ptw] in any::<[bool; 4]>(),
    ) {
        let built = InstructionAbort::new(origin, fault)
            .with_far_not_valid(fnv)
            .with_external_abort_type(ea)
            .with_physical_address_valid(pfv)
            .with_stage1_walk(s1ptw)
            .with_error_type(error_type);
        let Syndrome::InstructionAbort(abort) = built.esr().decode() else {
            panic!("{built:?}");
        };
        prop_assert_eq!(abort, built);
        prop_assert_eq!(abort.origin(), origin);
        prop_assert_eq!(abort.fault(), fault);
        prop_assert_eq!(abort.far_not_valid().unwrap_or(fnv), fnv);
        prop_assert_eq!(abort.external_abort_type().unwrap_or(ea), ea);
        prop_assert_eq!(abort.error_type().unwrap_or(error_type), error_type);
        prop_assert_eq!(abort.on_stage1_walk(), s1ptw);
        prop_assert!(abort.esr().is_32bit_instruction());
    }

    #[test]
    fn a_built_memory_operation_decodes_to_its_parts(
        instruction in prop::sample::select(vec![
            MopsInstruction::Copy, MopsInstruction::Set, MopsInstruction::SetTags,
        ]),
        option in prop::sample::select(vec![MopsOption::A, MopsOption::B]),
        [destination, source, size] in prop::array::uniform3(0u8..32),
        options in 0u8..16,
        [epilogue, wrong] in any::<[bool; 2]>(),
    ) {
        let registers = MopsRegisters { destination, source, size };
        let built = MemoryOperation::new(instruction, registers, option)
            .with_options(options)
            .with_from_epilogue(epilogue)
            .with_wrong_option(wrong);
        let Syndrome::MemoryOperation(found) = built.esr().decode() else {
            panic!("{built:?}");
        };
        prop_assert_eq!(found.instruction(), instruction);
        prop_assert_eq!(found.registers(), registers);
        prop_assert_eq!(found.option(), option);
        prop_assert_eq!(found.options(), options);
        prop_assert_eq!(found.from_epilogue(), epilogue);
        prop_assert_eq!(found.wrong_option(), wrong);
    }

    #[test]
    fn a_built_serror_decodes_to_its_parts(aet in 0u8..8, ea in any::<bool>(), iss in any::<u64>()) {
        let built = SError::asynchronous(AsyncErrorType::from_bits(aet)).with_external_abort_type(ea);
        prop_assert_eq!(built.error_type(), Some(AsyncErrorType::from_bits(aet)));
        prop_assert_eq!(built.external_abort_type(), Some(ea));
        prop_assert_eq!(built.esr().decode(), Syndrome::SError(built));
        let raw = SError::from_iss(iss).esr();
        prop_assert_eq!(u64::from(raw.iss()), iss & 0x01ff_ffff);
        prop_assert_eq!(raw.class(), ExceptionClass::SERROR);
    }

    #[test]
    fn taking_an_exception_obeys_the_rules(
        pc in any::<u64>(),
        pstate in any::<u64>(),
        target in any_target(),
        exception in any_exception(),
    ) {
        let interrupted = Interrupted { pc, pstate: Pstate(pstate) };
        match take_exception(&interrupted, &target, &exception) {
            Ok(delivery) => check(&interrupted, &target, &exception, &delivery)?,
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// The rules, one by one, without regard to how they are computed.
fn check(
    interrupted: &Interrupted,
    target: &Target,
    exception: &Exception,
    delivery: &Delivery,
) -> Result<(), TestCaseError> {
    let old = interrupted.pstate.0;
    let new = delivery.pstate.0;
    let mode = interrupted.pstate.mode().expect("take_exception checks it");

    // A legal vector: synchronous or SError, in one of four groups.
    prop_assert_eq!(delivery.pc & !0x7ff, target.vbar & !0x7ff);
    prop_assert!(matches!(delivery.pc & 0x1ff, 0x000 | 0x180));
    prop_assert!(delivery.pc & 0x400 != 0 || !mode.is_aarch32);

    // What was interrupted can be resumed.
    prop_assert_eq!(delivery.spsr.0, old & !Pstate::UINJ);
    let mask = if mode.is_aarch32 {
        0xffff_ffff
    } else {
        u64::MAX
    };
    prop_assert_eq!(delivery.elr, interrupted.pc & mask);

    // The new state: masked, on the target's own stack, nothing invented.
    let level = match target.level {
        TargetLevel::El1 => Pstate::EL1H,
        TargetLevel::El2 { .. } => Pstate::EL2H,
    };
    prop_assert_eq!(new & Pstate::MODE, level);
    prop_assert_eq!(new & Pstate::DAIF, Pstate::DAIF);
    let kept = Pstate::NZCV | Pstate::DIT;
    prop_assert_eq!(new & kept, old & kept);
    prop_assert_eq!(old & Pstate::PAN & !new, 0);
    let may_be_set = kept
        | Pstate::PAN
        | Pstate::TCO
        | Pstate::SSBS
        | Pstate::ALLINT
        | Pstate::PM
        | Pstate::EXLOCK
        | Pstate::DAIF
        | Pstate::MODE;
    prop_assert_eq!(new & !may_be_set, 0);
    prop_assert_eq!(new & Pstate::TCO != 0, target.features.mte);
    prop_assert_eq!(new & Pstate::PM != 0, target.features.profiling_exceptions);

    // The syndrome: of the right class, with no trace of stage 2, true about FAR and PFAR.
    prop_assert!(delivery.esr.is_32bit_instruction());
    prop_assert_eq!(delivery.esr.bits() >> 56, 0);
    let same_level = mode.level as u64 == (level >> 2);
    match (exception, delivery.esr.decode()) {
        (Exception::SError(_), Syndrome::SError(_)) => {
            prop_assert_eq!((delivery.far, delivery.pfar), (None, None));
        }
        (Exception::Abort(abort), Syndrome::DataAbort(seen)) => {
            prop_assert_ne!(abort.access, Access::Fetch);
            prop_assert_eq!(seen.fault(), abort.fault);
            prop_assert_eq!(seen.origin() == Origin::SameEl, same_level);
            prop_assert_eq!(seen.address(0).is_some(), delivery.far.is_some());
            prop_assert_eq!(seen.physical_address(0).is_some(), delivery.pfar.is_some());
            prop_assert_eq!(seen.instruction(), None);
            prop_assert!(!seen.on_stage1_walk());
            if let Some(write) = seen.is_write() {
                prop_assert_eq!(write, abort.access != Access::Read);
            }
        }
        (Exception::Abort(abort), Syndrome::InstructionAbort(seen)) => {
            prop_assert_eq!(abort.access, Access::Fetch);
            prop_assert_eq!(seen.fault(), abort.fault);
            prop_assert_eq!(seen.origin() == Origin::SameEl, same_level);
            prop_assert_eq!(seen.address(0).is_some(), delivery.far.is_some());
            prop_assert_eq!(seen.physical_address(0).is_some(), delivery.pfar.is_some());
        }
        (_, syndrome) => prop_assert!(false, "{:?} as {:?}", exception, syndrome),
    }
    Ok(())
}
