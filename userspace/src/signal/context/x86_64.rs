//! x86-64: `struct sigcontext_64` of the kernel's `asm/sigcontext.h`.

use std::ffi::c_void;

use extable::{Registers, registers};

/// Words of the frame up to and including the trap number.
const WORDS: usize = 21;
const PROGRAM_COUNTER: usize = 16;
const ERROR_CODE: usize = 19;
const TRAP_NUMBER: usize = 20;

/// Where each general register lies, by its number in instructions: the frame starts with
/// r8 to r15, then has rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp.
const GENERAL: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];

/// The registers of one signal frame.
pub(crate) struct Frame<'a>(&'a mut [usize; WORDS]);

impl Frame<'_> {
    /// The registers in the third argument of a handler that was installed with `SA_SIGINFO`.
    ///
    /// # Safety
    ///
    /// `context` must be that argument; nothing else may access the frame while this lives.
    pub(crate) unsafe fn new(context: *mut c_void) -> Self {
        // SAFETY: the caller passes what the kernel passed: a `ucontext_t`.
        let registers = unsafe { &raw mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
        // SAFETY: both C libraries put the kernel's `sigcontext` there, which is longer than
        // this and aligned to 8; the caller says that nobody else accesses it.
        Self(unsafe { &mut *registers.cast() })
    }

    /// Where the thread was interrupted.
    pub(crate) fn program_counter(&self) -> usize {
        self.0[PROGRAM_COUNTER]
    }

    /// Whether the last page fault of this thread was a write. For a SIGBUS that is no page
    /// fault it is the value of an earlier one.
    pub(crate) fn write(&self) -> Option<bool> {
        // Intel SDM vol. 3, 4.7: vector 14, error code bit 1.
        const PAGE_FAULT: usize = 14;
        const WRITE: usize = 1 << 1;
        (self.0[TRAP_NUMBER] == PAGE_FAULT).then_some(self.0[ERROR_CODE] & WRITE != 0)
    }
}

impl Registers for Frame<'_> {
    const LIMIT: u8 = registers::x86_64::LIMIT;
    const REPORT: u8 = registers::x86_64::REPORT;

    fn general(&self, number: u8) -> usize {
        self.0[GENERAL[usize::from(number & 15)]]
    }

    fn set_general(&mut self, number: u8, value: usize) {
        self.0[GENERAL[usize::from(number & 15)]] = value;
    }

    fn set_program_counter(&mut self, value: usize) {
        self.0[PROGRAM_COUNTER] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_where_the_c_library_says() {
        let names = [
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
        assert_eq!(GENERAL.map(|word| word as i32), names);
        assert_eq!(PROGRAM_COUNTER as i32, libc::REG_RIP);
        assert_eq!(ERROR_CODE as i32, libc::REG_ERR);
        assert_eq!(TRAP_NUMBER as i32, libc::REG_TRAPNO);
    }
}
