//! Exceptions: from a vector to who deals with it. What they mean is in [`crate::trap`] and
//! [`crate::ras`].
//!
//! The fault status decides first: a memory error never gets to the page fault resolver, and a
//! fault never to [`crate::ras`].

use extable::{Abort, Cause};
use mm::Access;
use syndrome::{AbortCause, DataAbort, Esr, ExceptionClass, FaultKind, InstructionAbort, Syndrome};

use super::fixup::{self, View};
use super::layout::{self, USER_END};
use super::registers::{mrs, run_with};
use super::{identification, interrupt, irq, report};
use crate::arch::Registers;
use crate::ras::{self, Mode, Verdict};
use crate::task::signal::Fault;
use crate::task::{current, preemption, scheduler};
use crate::{syscall, trap};

/// Base-2 logarithm of the unit in which memory fails: a line, or a page that is not mapped.
const LOG2_LINE: u8 = 6;
const LOG2_PAGE: u8 = 12;

/// SPSR_EL1.I.
const IRQ_MASKED: u64 = 1 << 7;

/// The address without the tag byte that programs may keep there.
fn untagged(address: u64) -> u64 {
    if address >> 55 & 1 == 0 {
        address & (u64::MAX >> 8)
    } else {
        address
    }
}

fn is_user(address: u64) -> bool {
    address < USER_END
}

/// PAR_EL1 of a translation by `at`: the physical address, unless there is none.
macro_rules! translate {
    ($instruction:literal, $address:expr) => {{
        let flags = irq::disable();
        run_with!($instruction, $address);
        super::registers::run!("isb");
        let result = mrs!("par_el1");
        irq::restore(flags);
        (result & 1 == 0).then_some(result & ((1 << 48) - (1 << 12)) | $address & 0xfff)
    }};
}

/// The physical address to which a virtual one leads, for whoever met an error there.
fn physical(mode: Mode, address: u64) -> Option<u64> {
    match mode {
        Mode::User => translate!("at s1e0r, {}", address),
        Mode::Kernel => layout::physical(address).or_else(|| translate!("at s1e1r, {}", address)),
    }
}

/// Memory has failed. A copy of the kernel's ends early, whatever was masked. Whether the
/// interrupted code goes on.
fn memory_error(registers: &mut Registers, esr: Esr, far: u64) -> bool {
    let Some(abort) = ras::Abort::of(esr.bits(), far, physical) else {
        return false;
    };
    match ras::synchronous_abort(&abort) {
        Verdict::Resume => true,
        Verdict::FixUp => fix_up(registers, esr, far),
        Verdict::Panic(why) => report::exception(why, registers, esr, far),
    }
}

/// Ends the copy that met a memory error, if it is one that can end so.
fn fix_up(registers: &mut Registers, esr: Esr, far: u64) -> bool {
    let Syndrome::DataAbort(abort) = esr.decode() else {
        return false;
    };
    let excuse = Abort {
        write: abort.is_write(),
        address: abort.address(far).map(|address| address as usize),
        code: i16::from(abort.fault().code()),
        ..Abort::new(Cause::MemoryError, LOG2_LINE)
    };
    let Some(fixup) = fixup::find(registers.pc, &excuse) else {
        return false;
    };
    fixup.apply(&excuse, &mut View(registers));
    true
}

/// What kind of access a data abort is about. Cache maintenance counts as a load, by the bit that
/// says what it is.
fn access(abort: DataAbort) -> Access {
    if abort.is_write() == Some(true) && !abort.is_cache_maintenance() {
        Access::Store
    } else {
        Access::Load
    }
}

/// A synchronous exception from user mode.
pub(super) extern "C" fn user_synchronous(registers: &mut Registers) {
    let esr = Esr::new(mrs!("esr_el1"));
    if esr.class() == ExceptionClass::SVC64 {
        irq::enable();
        syscall::handle(registers);
        return leave(registers);
    }
    let far = mrs!("far_el1");
    let fault = Fault {
        address: far,
        syndrome: esr.bits(),
    };
    match esr.decode() {
        Syndrome::DataAbort(abort) if abort.cause() != AbortCause::MemoryError => {
            user_data_abort(abort, far, fault);
        }
        Syndrome::InstructionAbort(abort) if abort.cause() != AbortCause::MemoryError => {
            user_instruction_abort(abort, far, fault);
        }
        Syndrome::DataAbort(_) | Syndrome::InstructionAbort(_) => {
            memory_error(registers, esr, far);
        }
        syndrome => {
            irq::enable();
            // Which of the two depends on FEAT_IDST.
            let is_system = [ExceptionClass::UNKNOWN, ExceptionClass::SYSTEM_REGISTER];
            if is_system.contains(&esr.class()) && identification::emulate(registers) {
                return leave(registers);
            }
            let ((signal, code), address) = match syndrome {
                Syndrome::BreakpointInstruction(_) => (trap::BREAKPOINT, registers.pc),
                _ if esr.class() == ExceptionClass::PC_ALIGNMENT => (trap::UNALIGNED, registers.pc),
                _ if esr.class() == ExceptionClass::SP_ALIGNMENT => (trap::UNALIGNED, registers.sp),
                _ => (trap::ILLEGAL, registers.pc),
            };
            trap::user_exception(signal, code, address, fault);
        }
    }
    leave(registers);
}

fn user_data_abort(abort: DataAbort, far: u64, fault: Fault) {
    match abort.cause() {
        AbortCause::Fault if abort.fault().kind() == FaultKind::Alignment => {
            irq::enable();
            let (signal, code) = trap::UNALIGNED;
            trap::user_exception(signal, code, far, fault);
        }
        AbortCause::Fault => {
            irq::enable();
            trap::user_fault(untagged(far), access(abort), fault);
        }
        AbortCause::MemoryError | AbortCause::Other => {
            irq::enable();
            let (signal, code) = trap::UNALIGNED;
            trap::user_exception(signal, code, far, fault);
        }
    }
}

fn user_instruction_abort(abort: InstructionAbort, far: u64, fault: Fault) {
    match abort.cause() {
        AbortCause::Fault => {
            irq::enable();
            trap::user_fault(untagged(far), Access::Fetch, fault);
        }
        AbortCause::MemoryError | AbortCause::Other => {
            irq::enable();
            let (signal, code) = trap::UNALIGNED;
            trap::user_exception(signal, code, far, fault);
        }
    }
}

/// A synchronous exception from the kernel.
pub(super) extern "C" fn kernel_synchronous(registers: &mut Registers) {
    let esr = Esr::new(mrs!("esr_el1"));
    let far = mrs!("far_el1");
    let handled = match esr.decode() {
        Syndrome::DataAbort(abort) if abort.cause() == AbortCause::Fault => {
            kernel_fault(registers, abort, far)
        }
        _ => memory_error(registers, esr, far),
    };
    if !handled {
        report::exception("exception in the kernel", registers, esr, far);
    }
}

/// A fault in an access to user memory is resolved as the program's own would be, or ends the
/// access. Any other is a mistake of the kernel's.
fn kernel_fault(registers: &mut Registers, abort: DataAbort, far: u64) -> bool {
    let excuse = Abort {
        write: abort.is_write(),
        address: Some(far as usize),
        ..Abort::new(Cause::Fault, LOG2_PAGE)
    };
    let Some(fixup) = fixup::find(registers.pc, &excuse) else {
        return false;
    };
    let address = untagged(far);
    let may_sleep = registers.pstate & IRQ_MASKED == 0 && preemption::is_enabled();
    if is_user(address) && may_sleep && abort.fault().kind() != FaultKind::Alignment {
        irq::enable();
        let resolution = trap::page_fault(address, access(abort));
        irq::mask();
        if resolution == trap::Resolution::Resolved {
            return true;
        }
    }
    fixup.apply(&excuse, &mut View(registers));
    true
}

/// An interrupt from user mode.
pub(super) extern "C" fn user_interrupt(registers: &mut Registers) {
    interrupt::handle();
    leave(registers);
}

/// An interrupt from the kernel.
pub(super) extern "C" fn kernel_interrupt(_registers: &mut Registers) {
    interrupt::handle();
    scheduler::preempt();
}

/// An asynchronous error that arrived in user mode.
pub(super) extern "C" fn user_error(registers: &mut Registers) {
    asynchronous(registers, Mode::User);
    leave(registers);
}

/// An asynchronous error that arrived in the kernel.
pub(super) extern "C" fn kernel_error(registers: &mut Registers) {
    asynchronous(registers, Mode::Kernel);
}

fn asynchronous(registers: &mut Registers, mode: Mode) {
    let esr = Esr::new(mrs!("esr_el1"));
    match ras::serror(mode, esr.bits()) {
        Verdict::Resume => {}
        Verdict::FixUp => report::exception("asynchronous error", registers, esr, 0),
        Verdict::Panic(why) => report::exception(why, registers, esr, mrs!("far_el1")),
    }
}

/// An exception that cannot be.
pub(super) extern "C" fn unexpected(registers: &mut Registers) {
    let esr = Esr::new(mrs!("esr_el1"));
    report::exception("unexpected exception", registers, esr, mrs!("far_el1"));
}

/// The stack of this CPU has overflowed; this is on another one.
pub(super) extern "C" fn overflow(registers: &mut Registers) {
    let esr = Esr::new(mrs!("esr_el1"));
    report::exception("kernel stack overflow", registers, esr, mrs!("far_el1"));
}

/// Does what must be done before user mode goes on with `registers`. Returns with interrupts
/// masked, so that nothing new comes in between.
pub(super) extern "C" fn leave(registers: &mut Registers) {
    loop {
        irq::mask();
        if !current().work.any() {
            return;
        }
        irq::enable();
        trap::work(registers);
    }
}
