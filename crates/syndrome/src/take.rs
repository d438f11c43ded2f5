//! What an exception level sees when it is handed an exception.
//!
//! Arm ARM (DDI 0487): rules under "Exception entry" (D1.4.2), and the pseudocode
//! `AArch64.TakeException`, `.ReportException`, `.ExceptionClass`, `.FaultSyndrome`,
//! `.RouteToSErrorOffset` and `.TakeVirtualSErrorException`.
//!
//! Not modelled, because no register of the result depends on it: error and context
//! synchronisation (SCTLR.IESB, EIS). Not modelled, because nobody here runs it: nested
//! virtualisation (HCR_EL2.NV) and Debug state.

use core::fmt;

use crate::bits::bit;
use crate::{
    DataAbort, Esr, ExceptionLevel, FaultStatus, InstructionAbort, Mode, Origin, Pstate, SError,
    SyncErrorType, Watchpoint,
};

/// What was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The preferred return address: the instruction that aborts, or for an SError the one to
    /// run next. Only the low 32 bits count in AArch32 state.
    pub pc: u64,
    /// PSTATE as the target is to find it in its SPSR. A monitor that steps the program clears
    /// [`Pstate::SS`] first, since that bit is its own.
    pub pstate: Pstate,
}

/// The exception level that takes the exception, and the registers of it that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which level.
    pub level: TargetLevel,
    /// `VBAR_ELx`.
    pub vbar: u64,
    /// `SCTLR_ELx`.
    pub sctlr: u64,
    /// `SCTLR2_ELx` as it takes effect: 0 if it is not implemented, or not enabled by
    /// HCRX_EL2.SCTLR2En and SCR_EL3.SCTLR2En.
    pub sctlr2: u64,
    /// `GCSCR_ELx`, or 0 if it is not implemented.
    pub gcscr: u64,
    /// What the PE implements.
    pub features: Features,
}

/// The exception level that takes an exception, always in AArch64 state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetLevel {
    /// EL1.
    El1,
    /// EL2.
    El2 {
        /// `HCR_EL2`: RW says what EL1 is, E2H and TGE whether EL2 is the host of EL0.
        hcr: u64,
    },
}

/// The extensions that change what an exception does. Those that only clear a bit of PSTATE on
/// entry (`FEAT_UAO`, `FEAT_BTI`, `FEAT_SEBEP`, `FEAT_PAuth_LR`, `FEAT_UINJ`) need no mention:
/// without them the bit is 0 anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `FEAT_PAN`: ID_AA64MMFR1_EL1.PAN is not 0.
    pub pan: bool,
    /// `FEAT_MTE`: ID_AA64PFR1_EL1.MTE is not 0.
    pub mte: bool,
    /// `FEAT_SSBS`: ID_AA64PFR1_EL1.SSBS is not 0.
    pub ssbs: bool,
    /// `FEAT_NMI`: ID_AA64PFR1_EL1.NMI is not 0.
    pub nmi: bool,
    /// `FEAT_EBEP`, `FEAT_SPE_EXC` or `FEAT_TRBE_EXC`.
    pub profiling_exceptions: bool,
    /// `FEAT_GCS`: ID_AA64PFR1_EL1.GCS is not 0.
    pub gcs: bool,
    /// `FEAT_RAS`: ID_AA64PFR0_EL1.RAS is not 0.
    pub ras: bool,
    /// `FEAT_DoubleFault2`: ID_AA64PFR1_EL1.DF2 is not 0.
    pub double_fault2: bool,
    /// `FEAT_PFAR`: ID_AA64PFR1_EL1.PFAR is not 0.
    pub pfar: bool,
}

/// What is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// A synchronous abort.
    Abort(Abort),
    /// An SError: a virtual one if the syndrome is that of `VSESR_EL2`.
    ///
    /// Without `FEAT_RAS` only an implementation defined syndrome gets through; any other is
    /// delivered as zero. FAR and PFAR are not written, so VFV and PFV should be clear. Whether
    /// PSTATE.A masks the SError is for the caller to ask.
    SError(SError),
    /// A watchpoint of the target's own, that somebody above it was told of. Whether the target
    /// masks debug exceptions is for the caller to ask.
    Watchpoint {
        /// The syndrome that was reported. What it says of the exception level is replaced.
        watchpoint: Watchpoint,
        /// The address that was reported.
        far: u64,
    },
}

/// A synchronous abort.
///
/// It cannot express what only a stage 2 abort has (ISV, SAS, SRT, S1PTW, ...), so none of it
/// can leak into the syndrome that EL1 sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// What the instruction was doing; it decides between data and instruction abort, and WnR.
    pub access: Access,
    /// What went wrong. Any code can be delivered, known or not.
    pub fault: FaultStatus,
    /// The virtual address, or `None` to report FnV. Only an external abort that is not on a
    /// table walk can do without.
    pub far: Option<u64>,
    /// The physical address, reported if the fault is an external abort and the PE has
    /// `FEAT_PFAR`. A PE never reports it to EL1 under stage 2; a monitor may, and then what it
    /// calls physical is an intermediate physical address.
    pub pfar: Option<u64>,
    /// SET, reported if the fault is an external abort and the PE has `FEAT_RAS`.
    pub error_type: SyncErrorType,
    /// EA, reported if the fault is an external abort.
    pub external_abort_type: bool,
    /// Whether a data access was to a guarded control stack, reported with `FEAT_GCS`.
    pub guarded_control_stack: bool,
}

/// What an instruction was doing when it aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading memory; also the read half of an atomic.
    Read,
    /// Writing memory, DC ZVA included.
    Write,
    /// Cache maintenance or address translation.
    CacheMaintenance,
    /// Being fetched.
    Fetch,
}

/// What the target sees. Registers that are not here are unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The address of the vector.
    pub pc: u64,
    /// PSTATE at the vector.
    pub pstate: Pstate,
    /// `ELR_ELx`.
    pub elr: u64,
    /// `SPSR_ELx`.
    pub spsr: Pstate,
    /// `ESR_ELx`.
    pub esr: Esr,
    /// `FAR_ELx`; `None` if it becomes UNKNOWN, and so may be left as it is.
    pub far: Option<u64>,
    /// `PFAR_ELx`; `None` if it becomes UNKNOWN or is not implemented.
    pub pfar: Option<u64>,
}

/// Why an exception cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeError {
    /// PSTATE.M has a reserved value.
    ReservedMode(Pstate),
    /// The interrupted level is above the target.
    FromHigherLevel(ExceptionLevel),
    /// The interrupted level is the target, but in AArch32 state. This module is about targets
    /// in AArch64 state.
    TargetInAArch32(ExceptionLevel),
    /// FAR was left out for a fault that has no FnV to say so.
    AddressMissing(FaultStatus),
}

/// Takes `exception` from what was `interrupted` to `target`.
///
/// # Errors
///
/// [`TakeError`] if the interrupted state cannot be below the target, or if the abort lacks an
/// address that its syndrome has to vouch for.
pub fn take_exception(
    interrupted: &Interrupted,
    target: &Target,
    exception: &Exception,
) -> Result<Delivery, TakeError> {
    let from = mode_below(interrupted, target)?;
    let (esr, far, pfar) = match exception {
        Exception::Abort(abort) => report_abort(abort, from, target)?,
        Exception::SError(serror) => (report_serror(*serror, target), None, None),
        Exception::Watchpoint { watchpoint, far } => {
            let esr = watchpoint.taken_from(origin(from, target)).esr();
            (esr, Some(*far), None)
        }
    };
    let to_serror_vector = match exception {
        Exception::Abort(abort) => {
            abort.fault.is_external_abort() && target.external_abort_is_serror()
        }
        Exception::SError(_) => true,
        Exception::Watchpoint { .. } => false,
    };
    let pc = if from.is_aarch32 {
        interrupted.pc & 0xffff_ffff
    } else {
        interrupted.pc
    };
    Ok(Delivery {
        pc: target.vbar & !0x7ff | vector_offset(from, target, to_serror_vector),
        pstate: entry_pstate(interrupted.pstate, from, target),
        elr: pc,
        // BTYPE is kept. For a data abort the architecture leaves that open; keeping it is what
        // lets an instruction that is run again see the branch that led to it.
        spsr: Pstate(interrupted.pstate.0 & !Pstate::UINJ),
        esr,
        far,
        pfar,
    })
}

fn mode_below(interrupted: &Interrupted, target: &Target) -> Result<Mode, TakeError> {
    let from = interrupted
        .pstate
        .mode()
        .ok_or(TakeError::ReservedMode(interrupted.pstate))?;
    if from.level > target.level() {
        return Err(TakeError::FromHigherLevel(from.level));
    }
    if from.level == target.level() && from.is_aarch32 {
        return Err(TakeError::TargetInAArch32(from.level));
    }
    Ok(from)
}

/// The vector, as an offset from VBAR: four groups by origin, and in each the synchronous vector
/// first and the SError vector last.
fn vector_offset(from: Mode, target: &Target, to_serror_vector: bool) -> u64 {
    let group = if from.level < target.level() {
        if target.next_lower_level_is_aarch32(from) {
            0x600
        } else {
            0x400
        }
    } else if from.own_stack {
        0x200
    } else {
        0x000
    };
    group + if to_serror_vector { 0x180 } else { 0 }
}

fn entry_pstate(interrupted: Pstate, from: Mode, target: &Target) -> Pstate {
    // Everything that is neither kept nor set below is cleared on entry: SS, IL, UAO, BTYPE,
    // PPEND, PACM and UINJ, and in AArch32 also Q, GE, IT, E and T, which AArch64 lacks.
    const KEPT: u64 = Pstate::NZCV | Pstate::DIT | Pstate::PAN;
    let features = target.features;
    let same_level = from.level == target.level();
    let set = [
        (true, Pstate::DAIF),
        (features.pan && target.sets_pan(), Pstate::PAN),
        (features.mte, Pstate::TCO),
        (
            features.ssbs && bit(target.sctlr, sctlr::DSSBS),
            Pstate::SSBS,
        ),
        (
            features.nmi && !bit(target.sctlr, sctlr::SPINTMASK),
            Pstate::ALLINT,
        ),
        (features.profiling_exceptions, Pstate::PM),
        (
            features.gcs && same_level && bit(target.gcscr, GCSCR_EXLOCKEN),
            Pstate::EXLOCK,
        ),
    ];
    let mut pstate = interrupted.0 & KEPT;
    for (applies, mask) in set {
        if applies {
            pstate |= mask;
        }
    }
    Pstate(pstate | target.level.mode())
}

fn origin(from: Mode, target: &Target) -> Origin {
    if from.level == target.level() {
        Origin::SameEl
    } else {
        Origin::LowerEl
    }
}

type Report = (Esr, Option<u64>, Option<u64>);

/// ESR, FAR and PFAR of an abort.
fn report_abort(abort: &Abort, from: Mode, target: &Target) -> Result<Report, TakeError> {
    let origin = origin(from, target);
    if abort.far.is_none() && abort.fault != FaultStatus::EXTERNAL_ABORT {
        return Err(TakeError::AddressMissing(abort.fault));
    }
    let pfar = match abort.pfar {
        Some(pfar) if target.features.pfar && abort.fault.has_error_fields() => Some(pfar),
        _ => None,
    };

    let error_type = if target.features.ras {
        abort.error_type
    } else {
        SyncErrorType::Recoverable
    };
    let esr = if abort.access == Access::Fetch {
        InstructionAbort::new(origin, abort.fault)
            .with_far_not_valid(abort.far.is_none())
            .with_physical_address_valid(pfar.is_some())
            .with_error_type(error_type)
            .with_external_abort_type(abort.external_abort_type)
            .esr()
    } else {
        DataAbort::new(origin, abort.fault)
            .with_far_not_valid(abort.far.is_none())
            .with_physical_address_valid(pfar.is_some())
            .with_error_type(error_type)
            .with_external_abort_type(abort.external_abort_type)
            .with_write(abort.access != Access::Read)
            .with_cache_maintenance(abort.access == Access::CacheMaintenance)
            .with_guarded_control_stack(target.features.gcs && abort.guarded_control_stack)
            .esr()
    };
    Ok((esr, abort.far, pfar))
}

fn report_serror(serror: SError, target: &Target) -> Esr {
    if target.features.ras || serror.implementation_defined().is_some() {
        serror.esr()
    } else {
        SError::from_iss(0).esr()
    }
}

impl Abort {
    /// An abort with an address, and nothing unusual about it: SET recoverable, EA 0.
    pub const fn new(access: Access, fault: FaultStatus, far: u64) -> Self {
        Self {
            access,
            fault,
            far: Some(far),
            pfar: None,
            error_type: SyncErrorType::Recoverable,
            external_abort_type: false,
            guarded_control_stack: false,
        }
    }
}

/// Bits of `SCTLR_ELx`, the same in EL1 and EL2.
mod sctlr {
    pub(super) const SPAN: u32 = 23;
    pub(super) const DSSBS: u32 = 44;
    pub(super) const SPINTMASK: u32 = 62;
}

const SCTLR2_EASE: u32 = 5;
const GCSCR_EXLOCKEN: u32 = 6;

impl TargetLevel {
    /// PSTATE.M on entry.
    const fn mode(self) -> u64 {
        match self {
            Self::El1 => Pstate::EL1H,
            Self::El2 { .. } => Pstate::EL2H,
        }
    }

    /// `ELIsInHost(EL0)`: EL2 with HCR_EL2.{E2H, TGE} = {1, 1} manages EL0 itself.
    const fn is_host_of_el0(self) -> bool {
        match self {
            Self::El1 => false,
            Self::El2 { hcr } => bit(hcr, 34) && bit(hcr, 27),
        }
    }
}

impl Target {
    const fn level(&self) -> ExceptionLevel {
        match self.level {
            TargetLevel::El1 => ExceptionLevel::El1,
            TargetLevel::El2 { .. } => ExceptionLevel::El2,
        }
    }

    const fn sets_pan(&self) -> bool {
        let manages_el0 = matches!(self.level, TargetLevel::El1) || self.level.is_host_of_el0();
        manages_el0 && !bit(self.sctlr, sctlr::SPAN)
    }

    /// `AArch64.RouteToSErrorOffset`: synchronous external aborts use the SError vector.
    const fn external_abort_is_serror(&self) -> bool {
        self.features.double_fault2 && bit(self.sctlr2, SCTLR2_EASE)
    }

    /// Which of the two "lower level" vector groups applies. It goes by the level *just below*
    /// the target: AArch32 code at EL0 under an AArch64 EL1 enters EL2 at 0x400, not 0x600.
    const fn next_lower_level_is_aarch32(&self, from: Mode) -> bool {
        match self.level {
            TargetLevel::El1 => from.is_aarch32,
            TargetLevel::El2 { hcr } => {
                if self.level.is_host_of_el0() && matches!(from.level, ExceptionLevel::El0) {
                    from.is_aarch32
                } else {
                    !bit(hcr, 31)
                }
            }
        }
    }
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedMode(pstate) => {
                let mode = pstate.0 & Pstate::MODE;
                write!(
                    f,
                    "PSTATE.M of the interrupted program is {mode:#07b}, a reserved value"
                )
            }
            Self::FromHigherLevel(level) => {
                write!(
                    f,
                    "{level:?} cannot be interrupted by an exception to a lower level"
                )
            }
            Self::TargetInAArch32(level) => write!(
                f,
                "the interrupted program is at {level:?} in AArch32 state, but {level:?} takes \
                 exceptions in AArch64 state"
            ),
            Self::AddressMissing(fault) => write!(
                f,
                "{fault} needs an address in FAR: only an external abort that is not on a table \
                 walk can do without"
            ),
        }
    }
}

impl core::error::Error for TakeError {}
