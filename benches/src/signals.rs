//! Signal handlers that are exchanged between measurements, and the two that rewrite the program
//! counter.

use std::io;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use copy::extable::{self, Abort, Cause, Entry, Registers, Table};

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

    /// Puts this action in force and returns the one before.
    pub(crate) fn install(&self) -> Result<Self> {
        let mut before = *self;
        // SAFETY: the handlers below and in `guard` are fit for a signal.
        let status = unsafe { libc::sigaction(self.signal, &self.action, &mut before.action) };
        if status == 0 {
            Ok(before)
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

/// The registers that a signal interrupted.
struct Frame<'a>(&'a mut libc::ucontext_t);

#[cfg(target_arch = "x86_64")]
impl Registers for Frame<'_> {
    const LIMIT: u8 = extable::registers::x86_64::LIMIT;
    const REPORT: u8 = extable::registers::x86_64::REPORT;

    fn general(&self, number: u8) -> usize {
        self.0.uc_mcontext.gregs[Self::index(number)] as usize
    }
    fn set_general(&mut self, number: u8, value: usize) {
        self.0.uc_mcontext.gregs[Self::index(number)] = value as i64;
    }
    fn set_program_counter(&mut self, value: usize) {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] = value as i64;
    }
}

#[cfg(target_arch = "x86_64")]
impl Frame<'_> {
    fn index(number: u8) -> usize {
        use libc::{
            REG_R8, REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP,
        };
        let first = [
            REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
        ];
        first
            .get(usize::from(number))
            .map_or(usize::from(number) - 8 + REG_R8 as usize, |&index| {
                index as usize
            })
    }
    fn program_counter(&self) -> usize {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    }
    /// Bit 1 of the page fault's error code.
    fn write(&self) -> Option<bool> {
        Some(self.0.uc_mcontext.gregs[libc::REG_ERR as usize] & 2 != 0)
    }
}

#[cfg(target_arch = "aarch64")]
impl Registers for Frame<'_> {
    const LIMIT: u8 = extable::registers::aarch64::LIMIT;
    const REPORT: u8 = extable::registers::aarch64::REPORT;

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

#[cfg(target_arch = "aarch64")]
impl Frame<'_> {
    fn program_counter(&self) -> usize {
        self.0.uc_mcontext.pc as usize
    }
    /// The routines that are measured load before they store, so nobody asks.
    fn write(&self) -> Option<bool> {
        None
    }
}

static TABLE: OnceLock<Table<'static>> = OnceLock::new();

/// Sorts the exception table for [`through_table`].
pub(crate) fn prepare_table() -> Result<()> {
    let linked = copy::entries().context("the exception table of this program")?;
    let entries: Vec<Entry> = linked
        .iter()
        .map(|entry| Entry::from_bytes(entry.to_bytes()))
        .collect();
    let entries = Vec::leak(entries);
    let bias = linked.as_ptr().addr().wrapping_sub(entries.as_ptr().addr());
    extable::sort(entries)?;
    let table = Table::moved(entries, bias.cast_signed())?;
    TABLE.get_or_init(|| table);
    Ok(())
}

/// Resumes where the exception table says; ends the process if it does not.
pub(crate) unsafe extern "C" fn through_table(
    _signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a context that is this handler's alone until it returns.
    let mut frame = Frame(unsafe { &mut *context.cast() });
    // SAFETY: as above.
    let code = unsafe { (*info).si_code };
    let abort = Abort {
        write: frame.write(),
        code: code as i16,
        ..Abort::new(Cause::MemoryError, 12)
    };
    let fixup = TABLE
        .get()
        .and_then(|table| table.find(frame.program_counter(), &abort));
    match fixup {
        Some(fixup) => fixup.apply(&abort, &mut frame),
        None => std::process::abort(),
    }
}

/// Resumes where the interrupted code itself has said: see `floor_copy`.
pub(crate) unsafe extern "C" fn move_program_counter(
    _signal: i32,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a context that is this handler's alone until it returns.
    let mut frame = Frame(unsafe { &mut *context.cast() });
    let resume = frame.general(Frame::REPORT);
    frame.set_program_counter(resume);
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
