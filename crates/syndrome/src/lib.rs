//! arm64 exception syndromes: what they say, and what an exception level sees when it is handed
//! one.
//!
//! Two halves, one vocabulary:
//!
//! * **Decode.** [`Esr`] wraps the register; [`Esr::decode`] gives a typed [`Syndrome`]. A kernel
//!   at EL1, a monitor at EL2 and a program that finds an ESR in its signal frame all use it.
//!   Every 64-bit value decodes, prints and converts back to itself: a code nobody has defined
//!   yet survives. A field that the architecture defines only for some fault codes is an
//!   `Option`, so a caller cannot read noise.
//! * **Take.** [`take_exception`] is the Arm pseudocode `AArch64.TakeException` as a pure
//!   function: from what was interrupted and how the target is set up to the PC, PSTATE, ESR,
//!   FAR, ELR and SPSR that the target wakes up with. A monitor injects with it; a test checks a
//!   kernel's entry code against it.
//!
//! ```
//! use syndrome::{AbortCause, Esr, Syndrome};
//!
//! let esr = Esr::new(0x9600_0010);
//! assert_eq!(
//!     esr.to_string(),
//!     "0x96000010: data abort, same EL: synchronous external abort, read, recoverable (UER)"
//! );
//! let Syndrome::DataAbort(abort) = esr.decode() else { panic!() };
//! assert_eq!(abort.cause(), AbortCause::MemoryError);
//! assert_eq!(abort.address(0x1234), Some(0x1234)); // FnV is 0: FAR can be believed
//! ```
//!
//! Numbers and layouts are from the Arm Architecture Reference Manual (Arm ARM, DDI 0487): the
//! field descriptions of `ESR_EL1` and `ESR_EL2`, "Exception entry" in chapter D1, and the
//! pseudocode under `aarch64/exceptions`.
#![no_std]
#![forbid(unsafe_code)]

mod abort;
mod bits;
mod class;
mod debug;
mod error_type;
mod esr;
mod fault;
mod mops;
mod pstate;
mod serror;
mod take;
mod trap;

pub use abort::{DataAbort, InstructionAbort, InstructionSyndrome, LoadStoreType, Origin};
pub use class::ExceptionClass;
pub use debug::{Breakpoint, BreakpointInstruction, SoftwareStep, Watchpoint};
pub use error_type::{AsyncErrorType, SyncErrorType, WriteUpdate};
pub use esr::{Esr, Syndrome};
pub use fault::{AbortCause, FaultKind, FaultStatus, Level};
pub use mops::{MemoryOperation, MopsInstruction, MopsOption, MopsRegisters};
pub use pstate::{ExceptionLevel, Mode, Pstate};
pub use serror::SError;
pub use take::{
    Abort, Access, Delivery, Exception, Features, Interrupted, TakeError, Target, TargetLevel,
    take_exception,
};
pub use trap::{Call, SystemRegister, SystemRegisterTrap};
