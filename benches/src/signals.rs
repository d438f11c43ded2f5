//! Signal handlers that are exchanged between measurements, and the barest one that recovers.

use std::io;
use std::ptr;

use anyhow::{Context, Result};

/// What a signal does.
#[derive(Clone, Copy)]
pub(crate) struct Action {
    signal: i32,
    action: libc::sigaction,
}

/// A handler with all three arguments.
pub(crate) type Handler = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

impl Action {
    /// Calls `handler`, with the flags that a library would use.
    pub(crate) fn handle(signal: i32, handler: Handler) -> Self {
        // SAFETY: all zero is a valid action: the default one, with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        Self { signal, action }
    }

    /// What `signal` does now.
    pub(crate) fn in_force(signal: i32) -> Result<Self> {
        let mut now = Self::handle(signal, move_program_counter);
        // SAFETY: nothing is installed.
        let status = unsafe { libc::sigaction(signal, ptr::null(), &mut now.action) };
        now.succeeded(status)
    }

    /// Puts this action in force and returns the one before.
    pub(crate) fn install(&self) -> Result<Self> {
        let mut before = *self;
        // SAFETY: the handlers here, in `guard` and in the library are fit for a signal.
        let status = unsafe { libc::sigaction(self.signal, &self.action, &mut before.action) };
        before.succeeded(status)
    }

    fn succeeded(self, status: i32) -> Result<Self> {
        if status == 0 {
            Ok(self)
        } else {
            Err(io::Error::last_os_error()).context("sigaction")
        }
    }
}

/// Puts the actions back that were in force before a measurement.
pub(crate) struct Restore(Vec<Action>);

impl Restore {
    pub(crate) fn these(actions: &[Action]) -> Result<Self> {
        actions
            .iter()
            .map(Action::install)
            .collect::<Result<_>>()
            .map(Self)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        for action in self.0.iter().rev() {
            // It was in force once, so the kernel takes it.
            let _ = action.install();
        }
    }
}

/// Resumes where the interrupted code itself has said: see [`floor_copy`].
pub(crate) unsafe extern "C" fn move_program_counter(
    _signal: i32,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a context that is this handler's alone until it returns.
    let context: &mut libc::ucontext_t = unsafe { &mut *context.cast() };
    let registers = &mut context.uc_mcontext;
    #[cfg(target_arch = "x86_64")]
    {
        registers.gregs[libc::REG_RIP as usize] = registers.gregs[libc::REG_R11 as usize];
    }
    #[cfg(target_arch = "aarch64")]
    {
        registers.pc = registers.regs[17];
    }
}

/// A copy of 16 bytes for [`move_program_counter`]. Returns 0, or 1 if the handler was called.
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe extern "C" fn floor_copy(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> usize {
    core::arch::naked_asm!(
        "lea r11, [rip + 2f]",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "xor eax, eax",
        "ret",
        "2: mov eax, 1",
        "ret",
    )
}

/// A copy of 16 bytes for [`move_program_counter`]. Returns 0, or 1 if the handler was called.
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe extern "C" fn floor_copy(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> usize {
    core::arch::naked_asm!(
        "adr x17, 2f",
        "ldp x2, x3, [x1]",
        "stp x2, x3, [x0]",
        "mov x0, #0",
        "ret",
        "2: mov x0, #1",
        "ret",
    )
}
