//! What the CPU says of an error, and what is to be done at once.

use syndrome::{AbortCause, AsyncErrorType, Esr, Origin, SyncErrorType, Syndrome};

/// Who was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A program.
    User,
    /// The kernel.
    Kernel,
}

/// A synchronous external abort, or what stands for one without `FEAT_RAS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Who met it.
    pub mode: Mode,
    /// The virtual address, unless the CPU does not say (FnV).
    pub address: Option<u64>,
    /// The physical address to which that led, if it still does.
    pub physical: Option<u64>,
    /// `ESR_EL1`, for the signal's frame.
    pub syndrome: u64,
    /// A translation table failed, and not what it leads to.
    pub on_walk: bool,
    /// What state the CPU is in.
    pub error_type: SyncErrorType,
}

/// What the vector's handler must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Go on. If that is back to a program, [`finish`](super::finish) comes first: the thread's
    /// work says so.
    Resume,
    /// Go to the landing pad that the exception table has for a memory error here. If it has none:
    /// report and panic.
    FixUp,
    /// Report and panic, for this reason.
    Panic(&'static str),
}

impl Abort {
    /// Whether a program's memory was accessed, by whomever: its address has bit 55 clear.
    pub(super) fn is_of_user_memory(&self) -> bool {
        self.address.is_some_and(|address| address >> 55 & 1 == 0)
    }

    /// The abort that `ESR_EL1` and `FAR_EL1` describe, if it is one of this kind. Anything else is
    /// a fault, and no business of this module. `translate` gives the physical address of a virtual
    /// one, with the rights of who met the error.
    pub fn of(esr: u64, far: u64, translate: impl Fn(Mode, u64) -> Option<u64>) -> Option<Self> {
        macro_rules! of {
            ($abort:ident) => {{
                if $abort.cause() != AbortCause::MemoryError {
                    return None;
                }
                let mode = match $abort.origin() {
                    Origin::LowerEl => Mode::User,
                    Origin::SameEl => Mode::Kernel,
                };
                // The tag byte may be unknown; bit 55 says which half the address is in.
                let address = $abort.address(far).map(without_tag);
                let on_walk = $abort.fault().on_table_walk();
                Some(Self {
                    mode,
                    address,
                    physical: address
                        .filter(|_| !on_walk)
                        .and_then(|address| translate(mode, address)),
                    syndrome: esr,
                    on_walk,
                    error_type: $abort.error_type().unwrap_or(SyncErrorType::Recoverable),
                })
            }};
        }
        match Esr::new(esr).decode() {
            Syndrome::DataAbort(abort) => of!(abort),
            Syndrome::InstructionAbort(abort) => of!(abort),
            _ => None,
        }
    }
}

/// An address with the bits above 55 as bit 55 is.
fn without_tag(address: u64) -> u64 {
    (address << 8).cast_signed().wrapping_shr(8).cast_unsigned()
}

/// How bad an SError is, for the CPU that takes it. Arm ARM DDI 0487, "PE error state
/// classification".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Nothing is lost for the interrupted program: it goes on.
    Harmless,
    /// The interrupted program cannot go on before what failed is dealt with.
    Recoverable,
    /// The system cannot go on.
    Fatal,
}

impl Severity {
    /// That of the SError that `ESR_EL1` describes.
    pub(super) fn of_serror(esr: u64) -> Self {
        let Syndrome::SError(serror) = Esr::new(esr).decode() else {
            return Self::Fatal;
        };
        match serror.error_type() {
            Some(AsyncErrorType::Corrected | AsyncErrorType::Restartable) => Self::Harmless,
            Some(AsyncErrorType::Recoverable) => Self::Recoverable,
            // Also what is implementation defined, or not categorised: nobody knows what it hit.
            _ => Self::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use syndrome::{
        AsyncErrorType, DataAbort, FaultKind, FaultStatus, Level, Origin, SError, SyncErrorType,
    };

    use super::{Abort, Mode, Severity};

    #[test]
    fn only_errors_of_memory_are_taken() {
        let of = |kind| DataAbort::new(Origin::SameEl, FaultStatus::from_kind(kind).unwrap());
        let translation = of(FaultKind::Translation(Level::new(3).unwrap()));
        let none = |_, _| None;
        assert_eq!(Abort::of(translation.esr().bits(), 0, none), None);
        let abort = of(FaultKind::ExternalAbort).with_error_type(SyncErrorType::Uncontainable);
        let far = 0xffff_0000_1234_5678;
        assert_eq!(
            Abort::of(abort.esr().bits(), far, |mode, address| {
                assert_eq!((mode, address), (Mode::Kernel, far));
                Some(0x1234_5678)
            }),
            Some(Abort {
                mode: Mode::Kernel,
                address: Some(far),
                physical: Some(0x1234_5678),
                syndrome: abort.esr().bits(),
                on_walk: false,
                error_type: SyncErrorType::Uncontainable,
            })
        );
        let walk = of(FaultKind::ExternalAbortOnWalk(Level::new(2).unwrap()));
        let seen = Abort::of(walk.esr().bits(), far, |_, _| Some(1)).unwrap();
        assert!(seen.on_walk && seen.physical.is_none());
    }

    #[test]
    fn an_address_has_no_tag_and_may_be_unknown() {
        let status = FaultStatus::from_kind(FaultKind::ExternalAbort).unwrap();
        let abort = DataAbort::new(Origin::LowerEl, status);
        let seen = Abort::of(abort.esr().bits(), 0xab00_aaaa_0000_1000, |_, _| None).unwrap();
        assert_eq!(seen.address, Some(0x0000_aaaa_0000_1000));
        assert_eq!(seen.mode, Mode::User);
        let abort = abort.with_far_not_valid(true);
        let seen = Abort::of(abort.esr().bits(), 0x1000, |_, _| Some(1)).unwrap();
        assert_eq!((seen.address, seen.physical), (None, None));
    }

    #[test]
    fn what_is_not_known_of_an_serror_is_fatal() {
        let of = |kind| Severity::of_serror(SError::asynchronous(kind).esr().bits());
        assert_eq!(of(AsyncErrorType::Corrected), Severity::Harmless);
        assert_eq!(of(AsyncErrorType::Restartable), Severity::Harmless);
        assert_eq!(of(AsyncErrorType::Recoverable), Severity::Recoverable);
        assert_eq!(of(AsyncErrorType::Unrecoverable), Severity::Fatal);
        assert_eq!(of(AsyncErrorType::Uncontainable), Severity::Fatal);
        let implementation_defined = SError::from_iss(1 << 24).esr();
        assert_eq!(
            Severity::of_serror(implementation_defined.bits()),
            Severity::Fatal
        );
        assert_eq!(Severity::of_serror(0), Severity::Fatal);
    }
}
