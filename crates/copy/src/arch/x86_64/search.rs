//! Comparing two ranges, and looking for a byte that is not zero.
//!
//! The result registers: rax holds how many bytes remain from the place found, or from the first
//! that cannot be read; rdx is 0 in the first case and the report in the second.

use super::access::covered;
use crate::outcome::Outcome;

/// INPUTS rdi first, rsi second, rdx length. OUTPUTS rax bytes from the first difference or
/// failure on, rdx report or 0. CLOBBERS rcx, rsi, rdi, r8 to r11, flags, and what `$wide` says.
///
/// `$wide` may skip any number of equal bytes from the start.
macro_rules! compare_routine {
    ($wide:ident) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn compare_mc(
            first: *const u8,
            second: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                covered!(ld, KernelAccess, "0", "91f"),
                covered!(ld_second, KernelAccess, "0", "92f"),
                covered!(pad_ld, KernelAccess, "0", "94f"),
                covered!(pad_ld_second, KernelAccess, "0", "93f"),
                "endbr64",
                "lea r9, [rdi + rdx]",
                $wide!(),
                // 16 bytes a turn, then 8, then single bytes, which also find the place.
                "20: cmp rdx, 16",
                "jb 21f",
                "ld 7, 0, 3, mov rax, [rdi]",
                "ld 7, 8, 3, mov rcx, [rdi + 8]",
                "ld_second 6, 0, 3, xor rax, [rsi]",
                "ld_second 6, 8, 3, xor rcx, [rsi + 8]",
                "or rax, rcx",
                "jnz 21f",
                "add rdi, 16",
                "add rsi, 16",
                "sub rdx, 16",
                "jmp 20b",
                "21: cmp rdx, 8",
                "jb 22f",
                "ld 7, 0, 3, mov rax, [rdi]",
                "ld_second 6, 0, 3, xor rax, [rsi]",
                "jnz 24f",
                "add rdi, 8",
                "add rsi, 8",
                "sub rdx, 8",
                "jmp 21b",
                "22: test rdx, rdx",
                "jz 23f",
                "ld 7, 0, 0, movzx eax, byte ptr [rdi]",
                "ld_second 6, 0, 0, xor al, [rsi]",
                "jnz 23f",
                "inc rdi",
                "inc rsi",
                "dec rdx",
                "jmp 22b",
                "24: bsf rax, rax",
                "shr eax, 3",
                "add rdi, rax",
                "23: mov rax, r9",
                "sub rax, rdi",
                "xor edx, edx",
                "ret",
                // A load of the second range failed, and the limit lies there.
                "92: or r11, 16",
                "sub r10, rsi",
                "ja 95f",
                "jmp 94f",
                "91: sub r10, rdi",
                "jbe 94f",
                "95: mov rcx, r9",
                "sub rcx, rdi",
                "cmp rcx, r10",
                "cmova rcx, r10",
                "test rcx, rcx",
                "jz 94f",
                "96:",
                "pad_ld 7, 0, 0, movzx eax, byte ptr [rdi]",
                "pad_ld_second 6, 0, 0, xor al, [rsi]",
                "jnz 23b",
                "inc rdi",
                "inc rsi",
                "dec rcx",
                "jnz 96b",
                "jmp 94f",
                "93: or r11, 16",
                "94: mov rax, r9",
                "sub rax, rdi",
                "mov rdx, r11",
                "ret",
                ".purgem ld\n.purgem ld_second\n.purgem pad_ld\n.purgem pad_ld_second",
            )
        }
    };
}

/// INPUTS rdi source, rsi length. OUTPUTS rax bytes from the first that is not zero, or the first
/// failure, on; rdx report or 0. CLOBBERS rcx, rsi, rdi, r8 to r11, flags, and what `$wide` says.
///
/// `$wide` may skip any number of zeros from the start.
macro_rules! is_zero_routine {
    ($wide:ident) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn is_zero_mc(
            source: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                covered!(ld, KernelAccess, "0", "91f"),
                covered!(pad_ld, KernelAccess, "0", "94f"),
                "endbr64",
                "lea r9, [rdi + rsi]",
                $wide!(),
                // 32 bytes a turn, then 8, then single bytes.
                "20: cmp rsi, 32",
                "jb 21f",
                "ld 7, 0, 3, mov rax, [rdi]",
                "ld 7, 8, 3, or rax, [rdi + 8]",
                "ld 7, 16, 3, or rax, [rdi + 16]",
                "ld 7, 24, 3, or rax, [rdi + 24]",
                "jnz 21f",
                "add rdi, 32",
                "sub rsi, 32",
                "jmp 20b",
                "21: cmp rsi, 8",
                "jb 22f",
                "ld 7, 0, 3, mov rax, [rdi]",
                "test rax, rax",
                "jnz 24f",
                "add rdi, 8",
                "sub rsi, 8",
                "jmp 21b",
                "22: test rsi, rsi",
                "jz 23f",
                "ld 7, 0, 0, movzx eax, byte ptr [rdi]",
                "test eax, eax",
                "jnz 23f",
                "inc rdi",
                "dec rsi",
                "jmp 22b",
                "24: bsf rax, rax",
                "shr eax, 3",
                "add rdi, rax",
                "23: mov rax, r9",
                "sub rax, rdi",
                "xor edx, edx",
                "ret",
                "91: sub r10, rdi",
                "jbe 94f",
                "mov rcx, r9",
                "sub rcx, rdi",
                "cmp rcx, r10",
                "cmova rcx, r10",
                "test rcx, rcx",
                "jz 94f",
                "96:",
                "pad_ld 7, 0, 0, movzx eax, byte ptr [rdi]",
                "test eax, eax",
                "jnz 23b",
                "inc rdi",
                "dec rcx",
                "jnz 96b",
                "94: mov rax, r9",
                "sub rax, rdi",
                "mov rdx, r11",
                "ret",
                ".purgem ld\n.purgem pad_ld",
            )
        }
    };
}

macro_rules! nothing_wide {
    () => {
        ""
    };
}

/// 64 bytes a turn while they are equal. CLOBBERS xmm0 to xmm7.
macro_rules! wide_comparisons {
    () => {
        "
    30: cmp rdx, 64
        jb 20f
        ld 7, 0, 4, movups xmm0, [rdi]
        ld 7, 16, 4, movups xmm1, [rdi + 16]
        ld 7, 32, 4, movups xmm2, [rdi + 32]
        ld 7, 48, 4, movups xmm3, [rdi + 48]
        ld_second 6, 0, 4, movups xmm4, [rsi]
        ld_second 6, 16, 4, movups xmm5, [rsi + 16]
        ld_second 6, 32, 4, movups xmm6, [rsi + 32]
        ld_second 6, 48, 4, movups xmm7, [rsi + 48]
        pcmpeqb xmm0, xmm4
        pcmpeqb xmm1, xmm5
        pcmpeqb xmm2, xmm6
        pcmpeqb xmm3, xmm7
        pand xmm0, xmm1
        pand xmm2, xmm3
        pand xmm0, xmm2
        pmovmskb eax, xmm0
        cmp eax, 0xffff
        jne 20f
        add rdi, 64
        add rsi, 64
        sub rdx, 64
        jmp 30b
        "
    };
}

/// 64 bytes a turn while they are zero. CLOBBERS xmm0 to xmm4.
macro_rules! wide_tests {
    () => {
        "
        pxor xmm4, xmm4
    30: cmp rsi, 64
        jb 20f
        ld 7, 0, 4, movups xmm0, [rdi]
        ld 7, 16, 4, movups xmm1, [rdi + 16]
        ld 7, 32, 4, movups xmm2, [rdi + 32]
        ld 7, 48, 4, movups xmm3, [rdi + 48]
        por xmm0, xmm1
        por xmm2, xmm3
        por xmm0, xmm2
        pcmpeqb xmm0, xmm4
        pmovmskb eax, xmm0
        cmp eax, 0xffff
        jne 20f
        add rdi, 64
        sub rsi, 64
        jmp 30b
        "
    };
}

/// Through general registers, for kernels.
pub(super) mod general {
    use super::*;
    compare_routine!(nothing_wide);
    is_zero_routine!(nothing_wide);
}

/// Through vectors of 16 bytes, for processes.
pub(super) mod vector {
    use super::*;
    compare_routine!(wide_comparisons);
    is_zero_routine!(wide_tests);
}
