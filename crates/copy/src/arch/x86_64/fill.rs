//! Filling memory with one byte value, through general registers.

use super::access::covered;
use crate::outcome::Outcome;

/// INPUTS rdi destination, rsi value (0 to 255), rdx length. OUTPUTS rax bytes not filled, rdx
/// report. CLOBBERS rcx, rsi, rdi, r8 to r11, flags.
macro_rules! fill_routine {
    ($name:ident, $kind:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(
            destination: *mut u8,
            value: usize,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                covered!(st, $kind, "1", "92f"),
                covered!(pad_st, $kind, "1", "94f"),
                "endbr64",
                "lea r9, [rdi + rdx]",
                // The value in every byte of rax.
                "movzx eax, sil",
                "movabs rcx, 0x0101010101010101",
                "imul rax, rcx",
                "cmp rdx, 8",
                "jb 30f",
                "cmp rdx, 512",
                "jae 40f",
                "20: cmp rdx, 32",
                "jbe 21f",
                "st 7, 0, 3, mov [rdi], rax",
                "st 7, 8, 3, mov [rdi + 8], rax",
                "st 7, 16, 3, mov [rdi + 16], rax",
                "st 7, 24, 3, mov [rdi + 24], rax",
                "add rdi, 32",
                "sub rdx, 32",
                "jmp 20b",
                "21: cmp rdx, 8",
                "jbe 22f",
                "st 7, 0, 3, mov [rdi], rax",
                "add rdi, 8",
                "sub rdx, 8",
                "jmp 21b",
                "22:",
                "st 9, -8, 3, mov [r9 - 8], rax",
                "xor eax, eax",
                "ret",
                "30: test edx, edx",
                "jz 31f",
                "st 7, 0, 0, mov [rdi], al",
                "inc rdi",
                "dec edx",
                "jmp 30b",
                "31: xor eax, eax",
                "ret",
                // `rep stosb` may be up to 64 bytes ahead of rdi when it fails.
                "40: mov rcx, rdx",
                "st 7, 0, 6, rep stosb",
                "xor eax, eax",
                "ret",
                "92: sub r10, rdi",
                "jbe 94f",
                "mov rcx, r9",
                "sub rcx, rdi",
                "cmp rcx, r10",
                "cmova rcx, r10",
                "test rcx, rcx",
                "jz 94f",
                "96:",
                "pad_st 7, 0, 0, mov [rdi], al",
                "inc rdi",
                "dec rcx",
                "jnz 96b",
                "94: mov rax, r9",
                "sub rax, rdi",
                "mov rdx, r11",
                "ret",
                ".purgem st\n.purgem pad_st",
            )
        }
    };
}

fill_routine!(fill_mc, KernelAccess);
fill_routine!(clear_user, UserAccess);
