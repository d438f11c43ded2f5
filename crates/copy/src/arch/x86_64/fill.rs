//! Filling memory with one byte value, through general registers or vectors of 16 bytes.

use super::access::covered;
use crate::outcome::Outcome;

/// INPUTS rdi destination, rsi value (0 to 255), rdx length. OUTPUTS rax bytes not filled, rdx
/// report. CLOBBERS rcx, rsi, rdi, r8 to r11, flags, and what `$wide` says.
///
/// `$wide` may fill any number of bytes from the start; what it leaves the rest fills.
macro_rules! fill_routine {
    ($name:ident, $kind:ident, $wide:ident) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn $name(
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
                $wide!(),
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

macro_rules! nothing_wide {
    () => {
        ""
    };
}

/// 64 bytes a turn while more than 64 are left. CLOBBERS xmm0.
macro_rules! wide_stores {
    () => {
        "
        cmp rdx, 64
        jbe 20f
        movq xmm0, rax
        punpcklqdq xmm0, xmm0
    24:
        st 7, 0, 4, movups [rdi], xmm0
        st 7, 16, 4, movups [rdi + 16], xmm0
        st 7, 32, 4, movups [rdi + 32], xmm0
        st 7, 48, 4, movups [rdi + 48], xmm0
        add rdi, 64
        sub rdx, 64
        cmp rdx, 64
        ja 24b
        "
    };
}

macro_rules! fill_routines {
    ($module:ident, $wide:ident) => {
        pub(super) mod $module {
            use super::*;
            fill_routine!(fill_mc, KernelAccess, $wide);
            fill_routine!(clear_user, UserAccess, $wide);
        }
    };
}

fill_routines!(general, nothing_wide);
fill_routines!(vector, wide_stores);
