//! The interrupted registers in a signal frame.

use copy::extable::{Registers, registers};

/// A `ucontext` during its signal.
pub struct Context<'a>(&'a mut libc::ucontext_t);

impl Context<'_> {
    /// # Safety
    ///
    /// `context` must be the third argument of a running SA_SIGINFO handler.
    pub unsafe fn new(context: *mut libc::c_void) -> Self {
        // SAFETY: this function's contract.
        Self(unsafe { &mut *context.cast() })
    }
}

#[cfg(target_arch = "x86_64")]
impl Context<'_> {
    pub fn program_counter(&self) -> usize {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    }

    /// Bit 1 of the page fault code: the access was a write.
    pub fn write(&self) -> Option<bool> {
        Some(self.0.uc_mcontext.gregs[libc::REG_ERR as usize] & 2 != 0)
    }
}

#[cfg(target_arch = "x86_64")]
const BY_NUMBER: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

#[cfg(target_arch = "x86_64")]
impl Registers for Context<'_> {
    const LIMIT: u8 = registers::x86_64::LIMIT;
    const REPORT: u8 = registers::x86_64::REPORT;

    fn general(&self, number: u8) -> usize {
        self.0.uc_mcontext.gregs[BY_NUMBER[usize::from(number)] as usize] as usize
    }

    fn set_general(&mut self, number: u8, value: usize) {
        self.0.uc_mcontext.gregs[BY_NUMBER[usize::from(number)] as usize] = value as i64;
    }

    fn set_program_counter(&mut self, value: usize) {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] = value as i64;
    }
}

#[cfg(target_arch = "aarch64")]
impl Context<'_> {
    pub fn program_counter(&self) -> usize {
        self.0.uc_mcontext.pc as usize
    }

    /// qemu-user puts no syndrome in the frame, so the tests do without it everywhere.
    pub fn write(&self) -> Option<bool> {
        None
    }
}

#[cfg(target_arch = "aarch64")]
impl Registers for Context<'_> {
    const LIMIT: u8 = registers::aarch64::LIMIT;
    const REPORT: u8 = registers::aarch64::REPORT;

    fn general(&self, number: u8) -> usize {
        self.0.uc_mcontext.regs[usize::from(number)] as usize
    }

    fn set_general(&mut self, number: u8, value: usize) {
        self.0.uc_mcontext.regs[usize::from(number)] = value as u64;
    }

    fn set_program_counter(&mut self, value: usize) {
        self.0.uc_mcontext.pc = value as u64;
    }
}
