//! Trials: running a few instructions, and catching whatever exception they end with.
//!
//! A trial gives the instructions all their registers, an exception level and PSTATE. They end with
//! an exception in any case: with SVC if nothing went wrong. Interrupts do not end a trial.

use core::arch::naked_asm;

use syndrome::{DataAbort, Esr, ExceptionClass, InstructionAbort, Pstate, Syndrome};

use super::exception::Frame;
use super::{arena, cpu, stub::Stub};

/// Where a trial runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// EL1, with SP_EL1.
    El1h,
    /// EL1, with SP_EL0.
    El1t,
    /// EL0.
    El0,
}

impl Mode {
    /// PSTATE.M.
    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::El1h => Pstate::EL1H,
            Self::El1t => 0b00100,
            Self::El0 => 0,
        }
    }

    /// Where the vectors of exceptions from there start.
    pub(crate) const fn vectors(self) -> u64 {
        match self {
            Self::El1h => 0x200,
            Self::El1t => 0x000,
            Self::El0 => 0x400,
        }
    }
}

/// PSTATE: all of debug exceptions, SError, IRQ and FIQ masked.
pub(crate) const ALL_MASKED: u64 = Pstate::DAIF;
/// PSTATE.D.
pub(crate) const DEBUG_MASKED: u64 = 1 << 9;
/// PSTATE.A.
pub(crate) const SERROR_MASKED: u64 = 1 << 8;
/// PSTATE.I.
pub(crate) const IRQ_MASKED: u64 = 1 << 7;

/// How a trial starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial(Frame);

/// How a trial ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome(Frame);

impl Trial {
    /// A trial of a stub, with everything masked and all registers 0.
    pub(crate) fn new(stub: Stub, mode: Mode) -> Self {
        let pc = match mode {
            Mode::El0 => stub.user_address(),
            Mode::El1h | Mode::El1t => stub.address(),
        };
        Self::at(pc, mode)
    }

    /// A trial of the instructions at this address, which end with SVC.
    pub(crate) fn at(pc: u64, mode: Mode) -> Self {
        let mut frame = Frame::ZERO;
        frame.pc = pc;
        frame.pstate = mode.bits() | ALL_MASKED;
        // For EL1t and EL0, should an instruction want a stack: a page nobody else uses.
        frame.sp = arena::View::User.address(arena::PAGES - 1, 2048);
        Self(frame)
    }

    /// With this value in a register.
    #[must_use]
    pub(crate) const fn with(mut self, register: usize, value: u64) -> Self {
        self.0.x[register] = value;
        self
    }

    /// With these bits of PSTATE flipped.
    #[must_use]
    pub(crate) const fn flipping(mut self, bits: u64) -> Self {
        self.0.pstate ^= bits;
        self
    }

    /// The registers.
    pub(crate) const fn registers(&self) -> &[u64; 31] {
        &self.0.x
    }

    /// The first instruction.
    pub(crate) const fn pc(&self) -> u64 {
        self.0.pc
    }

    /// PSTATE.
    pub(crate) const fn pstate(&self) -> u64 {
        self.0.pstate
    }

    /// Runs it on this CPU.
    pub(crate) fn run(&self) -> Outcome {
        let cpu = cpu::current();
        // SAFETY: `enter` comes back as any function does, since every exception of the trial
        // ends in `leave`. What the stub does to memory is to the arena only.
        unsafe { enter(cpu.trial_stack.as_ptr(), &self.0) }
        Outcome(cpu.outcome.get())
    }
}

impl Outcome {
    /// The registers.
    pub(crate) const fn x(&self, register: usize) -> u64 {
        self.0.x[register]
    }

    /// All registers.
    pub(crate) const fn registers(&self) -> &[u64; 31] {
        &self.0.x
    }

    /// Whether the trial ran to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.esr().class() == ExceptionClass::SVC64 && self.0.vector & 0x180 == 0
    }

    /// The syndrome.
    pub(crate) const fn esr(&self) -> Esr {
        Esr::new(self.0.esr)
    }

    /// `FAR_EL1`.
    pub(crate) const fn far(&self) -> u64 {
        self.0.far
    }

    /// The instruction that was interrupted.
    pub(crate) const fn pc(&self) -> u64 {
        self.0.pc
    }

    /// PSTATE at the exception.
    pub(crate) const fn pstate(&self) -> u64 {
        self.0.pstate
    }

    /// The vector, by offset.
    pub(crate) const fn vector(&self) -> u64 {
        self.0.vector
    }

    /// The data abort that it ended with.
    pub(crate) const fn data_abort(&self) -> Option<DataAbort> {
        match self.esr().decode() {
            Syndrome::DataAbort(abort) => Some(abort),
            _ => None,
        }
    }

    /// The instruction abort that it ended with.
    pub(crate) const fn instruction_abort(&self) -> Option<InstructionAbort> {
        match self.esr().decode() {
            Syndrome::InstructionAbort(abort) => Some(abort),
            _ => None,
        }
    }
}

/// Ends this CPU's trial if it runs one: `frame` then leads back to the caller of [`enter`].
pub(crate) fn end(frame: &mut Frame) -> bool {
    let cpu = cpu::current();
    let stack = cpu.trial_stack.replace(0);
    if stack == 0 {
        return false;
    }
    cpu.outcome.set(*frame);
    frame.x[0] = stack;
    frame.pc = leave as *const () as u64;
    frame.pstate = Pstate::EL1H | ALL_MASKED;
    true
}

/// Saves what a function must keep, leaves the stack pointer in `stack`, and starts the trial.
#[unsafe(naked)]
unsafe extern "C" fn enter(stack: *mut u64, frame: *const Frame) {
    naked_asm!(
        "stp x19, x20, [sp, #-96]!",
        "stp x21, x22, [sp, #16]",
        "stp x23, x24, [sp, #32]",
        "stp x25, x26, [sp, #48]",
        "stp x27, x28, [sp, #64]",
        "stp x29, x30, [sp, #80]",
        "mov x9, sp",
        "str x9, [x0]",
        "ldp x2, x3, [x1, #256]",
        "msr elr_el1, x2",
        "msr spsr_el1, x3",
        "ldr x2, [x1, #248]",
        "msr sp_el0, x2",
        "ldp x2, x3, [x1, #16]",
        "ldp x4, x5, [x1, #32]",
        "ldp x6, x7, [x1, #48]",
        "ldp x8, x9, [x1, #64]",
        "ldp x10, x11, [x1, #80]",
        "ldp x12, x13, [x1, #96]",
        "ldp x14, x15, [x1, #112]",
        "ldp x16, x17, [x1, #128]",
        "ldp x18, x19, [x1, #144]",
        "ldp x20, x21, [x1, #160]",
        "ldp x22, x23, [x1, #176]",
        "ldp x24, x25, [x1, #192]",
        "ldp x26, x27, [x1, #208]",
        "ldp x28, x29, [x1, #224]",
        "ldr x30, [x1, #240]",
        "ldp x0, x1, [x1]",
        "eret",
    )
}

/// Returns from [`enter`], with the stack pointer that it saved in x0.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov sp, x0",
        "ldp x21, x22, [sp, #16]",
        "ldp x23, x24, [sp, #32]",
        "ldp x25, x26, [sp, #48]",
        "ldp x27, x28, [sp, #64]",
        "ldp x29, x30, [sp, #80]",
        "ldp x19, x20, [sp], #96",
        "ret",
    )
}
