//! The guard that C programs put around a copy: `sigsetjmp` before, `siglongjmp` in the handler.
//!
//! All of it is assembly, because Rust must not see a function that returns twice, nor be jumped
//! over. The buffer is one for the process, which is cheaper than the thread's own that a library
//! would need.

use std::cell::UnsafeCell;

/// Whether the signal mask is saved with the registers, at the price of a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mask {
    /// `sigsetjmp(buffer, 0)`: the handler must leave the signal unblocked (SA_NODEFER).
    Kept,
    /// `sigsetjmp(buffer, 1)`.
    Saved,
}

/// A guarded memcpy. Returns 0, or 1 if the handler jumped out of it.
pub(crate) type GuardedCopy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> usize;

pub(crate) fn copy(mask: Mask) -> GuardedCopy {
    match mask {
        Mask::Kept => copy_mask_kept,
        Mask::Saved => copy_mask_saved,
    }
}

/// Larger than any `sigjmp_buf`: glibc's is 200 bytes on x86-64 and 312 on AArch64, musl's less.
#[repr(C, align(16))]
struct JumpBuffer(UnsafeCell<[u8; 512]>);

// SAFETY: only the thread that races calls guarded copies, and its handler runs on it.
unsafe impl Sync for JumpBuffer {}

static JUMP_BUFFER: JumpBuffer = JumpBuffer(UnsafeCell::new([0; 512]));

unsafe extern "C" {
    // Both glibc and musl have this name; in glibc `sigsetjmp` is a macro for it.
    fn __sigsetjmp(buffer: *mut u8, save_mask: i32) -> i32;
    fn siglongjmp(buffer: *mut u8, value: i32) -> !;
}

#[cfg(target_arch = "x86_64")]
macro_rules! guarded_copy {
    ($name:ident, $save_mask:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> usize {
            core::arch::naked_asm!(
                "push rbx",
                "push r12",
                "push r13",
                "mov rbx, rdi",
                "mov r12, rsi",
                "mov r13, rdx",
                "lea rdi, [rip + {buffer}]",
                concat!("mov esi, ", $save_mask),
                "call {sigsetjmp}",
                "test eax, eax",
                "jnz 2f",
                "mov rdi, rbx",
                "mov rsi, r12",
                "mov rdx, r13",
                "call {memcpy}",
                "xor eax, eax",
                "2: pop r13",
                "pop r12",
                "pop rbx",
                "ret",
                buffer = sym JUMP_BUFFER,
                sigsetjmp = sym __sigsetjmp,
                memcpy = sym libc::memcpy,
            )
        }
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! guarded_copy {
    ($name:ident, $save_mask:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> usize {
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-48]!",
                "mov x29, sp",
                "stp x19, x20, [sp, #16]",
                "str x21, [sp, #32]",
                "mov x19, x0",
                "mov x20, x1",
                "mov x21, x2",
                "adrp x0, {buffer}",
                "add x0, x0, :lo12:{buffer}",
                concat!("mov w1, #", $save_mask),
                "bl {sigsetjmp}",
                "cbnz w0, 2f",
                "mov x0, x19",
                "mov x1, x20",
                "mov x2, x21",
                "bl {memcpy}",
                "mov x0, #0",
                "2: ldp x19, x20, [sp, #16]",
                "ldr x21, [sp, #32]",
                "ldp x29, x30, [sp], #48",
                "ret",
                buffer = sym JUMP_BUFFER,
                sigsetjmp = sym __sigsetjmp,
                memcpy = sym libc::memcpy,
            )
        }
    };
}

guarded_copy!(copy_mask_kept, "0");
guarded_copy!(copy_mask_saved, "1");

/// A signal handler that leaves the guarded copy during which it was called.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    core::arch::naked_asm!(
        // As if `siglongjmp` itself had been called: it never returns.
        "lea rdi, [rip + {buffer}]",
        "mov esi, 1",
        "jmp {siglongjmp}",
        buffer = sym JUMP_BUFFER,
        siglongjmp = sym siglongjmp,
    )
}

/// A signal handler that leaves the guarded copy during which it was called.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    core::arch::naked_asm!(
        "adrp x0, {buffer}",
        "add x0, x0, :lo12:{buffer}",
        "mov w1, #1",
        "b {siglongjmp}",
        buffer = sym JUMP_BUFFER,
        siglongjmp = sym siglongjmp,
    )
}
