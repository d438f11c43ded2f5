//! Copies through general registers, for kernels: no vector register is touched.

use super::access::{copy_accesses, copy_landing_pads, covered, uncovered};
use crate::outcome::Outcome;

/// The text of a copy by 8-byte words; from `rep` bytes on `rep movsb` does all.
///
/// INPUTS rdi destination, rsi source, rdx length. OUTPUTS rax bytes not copied, rdx report.
/// CLOBBERS rcx, rsi, rdi, r8 to r11, flags.
///
/// Up to 32 bytes everything is loaded before anything is stored.
macro_rules! general_copy {
    () => {
        concat!(
            ".macro general_copy rep\n",
            "endbr64\n",
            "lea r9, [rdi + rdx]\n",
            "lea r8, [rsi + rdx]\n",
            "cmp rdx, 8\n",
            "jb 30f\n",
            "cmp rdx, 16\n",
            "jbe 20f\n",
            "cmp rdx, 32\n",
            "jbe 21f\n",
            "cmp rdx, \\rep\n",
            "jae 40f\n",
            // 32 bytes a turn while more than 32 are left, then the last 32.
            "22:\n",
            "ld 6, 0, 3, mov rax, [rsi]\n",
            "ld 6, 8, 3, mov rcx, [rsi + 8]\n",
            "st 7, 0, 3, mov [rdi], rax\n",
            "st 7, 8, 3, mov [rdi + 8], rcx\n",
            "ld 6, 16, 3, mov rax, [rsi + 16]\n",
            "ld 6, 24, 3, mov rcx, [rsi + 24]\n",
            "st 7, 16, 3, mov [rdi + 16], rax\n",
            "st 7, 24, 3, mov [rdi + 24], rcx\n",
            "add rsi, 32\n",
            "add rdi, 32\n",
            "sub rdx, 32\n",
            "cmp rdx, 32\n",
            "ja 22b\n",
            "ld 8, -32, 3, mov rax, [r8 - 32]\n",
            "ld 8, -24, 3, mov rcx, [r8 - 24]\n",
            "ld 8, -16, 3, mov rdx, [r8 - 16]\n",
            "ld 8, -8, 3, mov r8, [r8 - 8]\n",
            "st 9, -32, 3, mov [r9 - 32], rax\n",
            "st 9, -24, 3, mov [r9 - 24], rcx\n",
            "st 9, -16, 3, mov [r9 - 16], rdx\n",
            "st 9, -8, 3, mov [r9 - 8], r8\n",
            "xor eax, eax\n",
            "ret\n",
            "21:\n",
            "ld 6, 0, 3, mov rax, [rsi]\n",
            "ld 6, 8, 3, mov rcx, [rsi + 8]\n",
            "ld 8, -16, 3, mov rdx, [r8 - 16]\n",
            "ld 8, -8, 3, mov r8, [r8 - 8]\n",
            "st 7, 0, 3, mov [rdi], rax\n",
            "st 7, 8, 3, mov [rdi + 8], rcx\n",
            "st 9, -16, 3, mov [r9 - 16], rdx\n",
            "st 9, -8, 3, mov [r9 - 8], r8\n",
            "xor eax, eax\n",
            "ret\n",
            "20:\n",
            "ld 6, 0, 3, mov rax, [rsi]\n",
            "ld 8, -8, 3, mov rcx, [r8 - 8]\n",
            "st 7, 0, 3, mov [rdi], rax\n",
            "st 9, -8, 3, mov [r9 - 8], rcx\n",
            "xor eax, eax\n",
            "ret\n",
            "30: cmp edx, 4\n",
            "jb 31f\n",
            "ld 6, 0, 2, mov eax, [rsi]\n",
            "ld 8, -4, 2, mov ecx, [r8 - 4]\n",
            "st 7, 0, 2, mov [rdi], eax\n",
            "st 9, -4, 2, mov [r9 - 4], ecx\n",
            "xor eax, eax\n",
            "ret\n",
            "31: cmp edx, 1\n",
            "jb 32f\n",
            "ld 6, 0, 0, movzx ecx, byte ptr [rsi]\n",
            "je 33f\n",
            "ld 8, -2, 1, movzx eax, word ptr [r8 - 2]\n",
            "st 7, 0, 0, mov [rdi], cl\n",
            "st 9, -2, 1, mov [r9 - 2], ax\n",
            "32: xor eax, eax\n",
            "ret\n",
            "33: st 7, 0, 0, mov [rdi], cl\n",
            "xor eax, eax\n",
            "ret\n",
            "40: mov rcx, rdx\n",
            "movs\n",
            "xor eax, eax\n",
            "ret\n",
            ".endm\n",
        )
    };
}

/// The text of a copy for CPUs on which a machine check inside `rep movsb` or a wide load is not
/// recoverable: 8-byte loads from aligned addresses, one in flight at a time.
///
/// INPUTS, OUTPUTS as [`general_copy`]. CLOBBERS rax, rcx, rsi, rdi, r8 to r11, flags.
macro_rules! fragile_copy {
    () => {
        concat!(
            ".macro fragile_copy\n",
            "endbr64\n",
            "lea r9, [rdi + rdx]\n",
            "lea r8, [rsi + rdx]\n",
            "cmp rdx, 16\n",
            "jb 22f\n",
            // Single bytes until the source is aligned.
            "20: test esi, 7\n",
            "jz 21f\n",
            "ld 6, 0, 0, movzx eax, byte ptr [rsi]\n",
            "st 7, 0, 0, mov [rdi], al\n",
            "inc rsi\n",
            "inc rdi\n",
            "jmp 20b\n",
            "21: lea rcx, [rsi + 8]\n",
            "cmp rcx, r8\n",
            "ja 22f\n",
            "ld 6, 0, 3, mov rax, [rsi]\n",
            "st 7, 0, 3, mov [rdi], rax\n",
            "mov rsi, rcx\n",
            "add rdi, 8\n",
            "jmp 21b\n",
            "22: cmp rsi, r8\n",
            "jae 23f\n",
            "ld 6, 0, 0, movzx eax, byte ptr [rsi]\n",
            "st 7, 0, 0, mov [rdi], al\n",
            "inc rsi\n",
            "inc rdi\n",
            "jmp 22b\n",
            "23: xor eax, eax\n",
            "ret\n",
            ".endm\n",
        )
    };
}

macro_rules! general_routine {
    ($name:ident, $flavour:ident, $text:ident, $arguments:literal) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                copy_accesses!($flavour),
                $text!(),
                concat!(stringify!($text), $arguments),
                copy_landing_pads!($flavour, ""),
                concat!(".purgem ", stringify!($text)),
            )
        }
    };
}

/// A page by `rep movsb`.
macro_rules! general_page {
    () => {
        "
        lea r9, [rdi + 4096]
        mov ecx, 4096
        movs
        xor eax, eax
        ret
        "
    };
}

/// A page by 8-byte loads, see [`fragile_copy`].
macro_rules! fragile_page {
    () => {
        "
        lea r9, [rdi + 4096]
    20:
        ld 6, 0, 3, mov rax, [rsi]
        st 7, 0, 3, mov [rdi], rax
        add rsi, 8
        add rdi, 8
        cmp rdi, r9
        jb 20b
        xor eax, eax
        ret
        "
    };
}

macro_rules! page_routine {
    ($name:ident, $flavour:ident, $text:ident) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
        ) -> Outcome {
            core::arch::naked_asm!(
                copy_accesses!($flavour),
                "endbr64",
                $text!(),
                copy_landing_pads!($flavour, ""),
            )
        }
    };
}

macro_rules! general_routines {
    ($module:ident, $copy:ident, $arguments:literal, $page:ident) => {
        pub(super) mod $module {
            use super::*;
            general_routine!(memcpy, plain, $copy, $arguments);
            general_routine!(memcpy_mc, mc, $copy, $arguments);
            general_routine!(copy_from_user, from_user, $copy, $arguments);
            general_routine!(copy_to_user, to_user, $copy, $arguments);
            page_routine!(copy_page, plain, $page);
            page_routine!(copy_mc_page, mc, $page);
        }
    };
}

general_routines!(fragile, fragile_copy, "", fragile_page);
general_routines!(general, general_copy, " 512", general_page);
