//! Copies through vector registers, for processes: a ladder of overlapping accesses, a loop, and
//! `rep movsb` for what no longer fits the first-level cache well.
//!
//! Every step of the ladder loads all it needs before it stores anything. So a load that fails
//! there finds `rdi` and `rsi` still at the start, as the landing pads want it.

use super::access::{copy_accesses, copy_landing_pads, covered, uncovered};
use crate::outcome::Outcome;

/// What copies and page copies have in common.
///
/// `$leave` is `vzeroupper` where the registers have legacy upper halves.
macro_rules! vector_steps {
    ($leave:literal) => {
        concat!(
            ".macro done\n",
            "xor eax, eax\n",
            $leave,
            "ret\n",
            ".endm\n",
            // Four consecutive vectors at once, `at` bytes from `source` and `destination`.
            ".macro ld4 log2, mov, number, base, at, ra, rb, rc, rd\n",
            "ld \\number, \\at, \\log2, \\mov \\ra, [\\base + (\\at)]\n",
            "ld \\number, \\at + (1 << \\log2), \\log2, \\mov \\rb, [\\base + (\\at) + (1 << \\log2)]\n",
            "ld \\number, \\at + (2 << \\log2), \\log2, \\mov \\rc, [\\base + (\\at) + (2 << \\log2)]\n",
            "ld \\number, \\at + (3 << \\log2), \\log2, \\mov \\rd, [\\base + (\\at) + (3 << \\log2)]\n",
            ".endm\n",
            ".macro st4 log2, mov, number, base, at, ra, rb, rc, rd\n",
            "st \\number, \\at, \\log2, \\mov [\\base + (\\at)], \\ra\n",
            "st \\number, \\at + (1 << \\log2), \\log2, \\mov [\\base + (\\at) + (1 << \\log2)], \\rb\n",
            "st \\number, \\at + (2 << \\log2), \\log2, \\mov [\\base + (\\at) + (2 << \\log2)], \\rc\n",
            "st \\number, \\at + (3 << \\log2), \\log2, \\mov [\\base + (\\at) + (3 << \\log2)], \\rd\n",
            ".endm\n",
        )
    };
}

/// The text of a copy by vectors of `1 << log2` bytes.
///
/// INPUTS rdi destination, rsi source, rdx length. OUTPUTS rax bytes not copied, rdx report.
/// CLOBBERS rcx, rsi, rdi, r8 to r11, flags, the vector registers `n0` to `n7`.
///
/// `mov` and `r` move a whole vector, `mov32` and `mov16` 32 bytes in `ymm` and 16 in `xmm`;
/// from `rep` bytes on `rep movsb` does all.
macro_rules! vector_copy {
    () => {
        concat!(
            // One access at each end covers its width to twice that.
            ".macro ends log2, mov, ra, rb\n",
            "ld 6, 0, \\log2, \\mov \\ra, [rsi]\n",
            "ld 8, -(1 << \\log2), \\log2, \\mov \\rb, [r8 - (1 << \\log2)]\n",
            "st 7, 0, \\log2, \\mov [rdi], \\ra\n",
            "st 9, -(1 << \\log2), \\log2, \\mov [r9 - (1 << \\log2)], \\rb\n",
            ".endm\n",
            ".macro vector_copy log2, mov, r, n0, n1, n2, n3, n4, n5, n6, n7, mov32, mov16, rep\n",
            "lea r9, [rdi + rdx]\n",
            "lea r8, [rsi + rdx]\n",
            // Up to two vectors: the most frequent sizes take the fewest jumps.
            "cmp rdx, 2 << \\log2\n",
            "ja 23f\n",
            "cmp rdx, 16\n",
            "jb 30f\n",
            ".if \\log2 >= 5\n",
            "cmp rdx, 32\n",
            "jbe 20f\n",
            ".endif\n",
            ".if \\log2 >= 6\n",
            "cmp rdx, 64\n",
            "jbe 21f\n",
            ".endif\n",
            "ends \\log2, \\mov, \\r\\n0, \\r\\n1\n",
            "done\n",
            "23: cmp rdx, 8 << \\log2\n",
            "ja 26f\n",
            "cmp rdx, 4 << \\log2\n",
            "jbe 24f\n",
            // Four to eight vectors.
            "ld4 \\log2, \\mov, 6, rsi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "ld4 \\log2, \\mov, 8, r8, -(4 << \\log2), \\r\\n4, \\r\\n5, \\r\\n6, \\r\\n7\n",
            "st4 \\log2, \\mov, 7, rdi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "st4 \\log2, \\mov, 9, r9, -(4 << \\log2), \\r\\n4, \\r\\n5, \\r\\n6, \\r\\n7\n",
            "done\n",
            // Two to four vectors.
            "24:\n",
            "ld 6, 0, \\log2, \\mov \\r\\n0, [rsi]\n",
            "ld 6, 1 << \\log2, \\log2, \\mov \\r\\n1, [rsi + (1 << \\log2)]\n",
            "ld 8, -(2 << \\log2), \\log2, \\mov \\r\\n2, [r8 - (2 << \\log2)]\n",
            "ld 8, -(1 << \\log2), \\log2, \\mov \\r\\n3, [r8 - (1 << \\log2)]\n",
            "st 7, 0, \\log2, \\mov [rdi], \\r\\n0\n",
            "st 7, 1 << \\log2, \\log2, \\mov [rdi + (1 << \\log2)], \\r\\n1\n",
            "st 9, -(2 << \\log2), \\log2, \\mov [r9 - (2 << \\log2)], \\r\\n2\n",
            "st 9, -(1 << \\log2), \\log2, \\mov [r9 - (1 << \\log2)], \\r\\n3\n",
            "done\n",
            "26:\n",
            "cmp rdx, \\rep\n",
            "jae 40f\n",
            // More: one vector aligns the destination, then four a turn, and four at the end.
            "ld 6, 0, \\log2, \\mov \\r\\n0, [rsi]\n",
            "st 7, 0, \\log2, \\mov [rdi], \\r\\n0\n",
            "lea rcx, [rdi + (1 << \\log2)]\n",
            "and rcx, -(1 << \\log2)\n",
            "sub rcx, rdi\n",
            "add rdi, rcx\n",
            "add rsi, rcx\n",
            "lea rcx, [r9 - (4 << \\log2)]\n",
            // The section, and so the entry, becomes as aligned as this loop.
            ".balign 64\n",
            "25:\n",
            "ld4 \\log2, \\mov, 6, rsi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "st4 \\log2, \\mov, 7, rdi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "add rsi, 4 << \\log2\n",
            "add rdi, 4 << \\log2\n",
            "cmp rdi, rcx\n",
            "jb 25b\n",
            "ld4 \\log2, \\mov, 8, r8, -(4 << \\log2), \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "st4 \\log2, \\mov, 9, r9, -(4 << \\log2), \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "done\n",
            ".if \\log2 >= 5\n",
            "20: ends 4, \\mov16, xmm0, xmm1\n",
            "done\n",
            ".endif\n",
            ".if \\log2 >= 6\n",
            "21: ends 5, \\mov32, ymm\\n0, ymm\\n1\n",
            "done\n",
            ".endif\n",
            // Less than 16 bytes.
            "30: cmp edx, 8\n",
            "jb 31f\n",
            "ld 6, 0, 3, mov rax, [rsi]\n",
            "ld 8, -8, 3, mov rcx, [r8 - 8]\n",
            "st 7, 0, 3, mov [rdi], rax\n",
            "st 9, -8, 3, mov [r9 - 8], rcx\n",
            "xor eax, eax\n",
            "ret\n",
            "31: cmp edx, 4\n",
            "jb 32f\n",
            "ld 6, 0, 2, mov eax, [rsi]\n",
            "ld 8, -4, 2, mov ecx, [r8 - 4]\n",
            "st 7, 0, 2, mov [rdi], eax\n",
            "st 9, -4, 2, mov [r9 - 4], ecx\n",
            "xor eax, eax\n",
            "ret\n",
            "32: cmp edx, 1\n",
            "jb 33f\n",
            "ld 6, 0, 0, movzx ecx, byte ptr [rsi]\n",
            "je 34f\n",
            "ld 8, -2, 1, movzx eax, word ptr [r8 - 2]\n",
            "st 7, 0, 0, mov [rdi], cl\n",
            "st 9, -2, 1, mov [r9 - 2], ax\n",
            "33: xor eax, eax\n",
            "ret\n",
            "34: st 7, 0, 0, mov [rdi], cl\n",
            "xor eax, eax\n",
            "ret\n",
            // So much that the microcode is faster.
            "40: mov rcx, rdx\n",
            "movs\n",
            "xor eax, eax\n",
            "ret\n",
            ".endm\n",
        )
    };
}

macro_rules! vector_routine {
    ($name:ident, $flavour:ident, $leave:literal, $arguments:literal) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                copy_accesses!($flavour),
                vector_steps!($leave),
                vector_copy!(),
                "endbr64",
                concat!("vector_copy ", $arguments),
                copy_landing_pads!($flavour, $leave),
                ".purgem done\n.purgem ends\n.purgem ld4\n.purgem st4\n.purgem vector_copy",
            )
        }
    };
}

/// The text of a page copy; parameters as of [`vector_copy`], and those it does not need.
macro_rules! vector_page {
    () => {
        concat!(
            ".macro vector_page log2, mov, r, n0, n1, n2, n3, rest:vararg\n",
            "lea r9, [rdi + 4096]\n",
            "20:\n",
            "ld4 \\log2, \\mov, 6, rsi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "st4 \\log2, \\mov, 7, rdi, 0, \\r\\n0, \\r\\n1, \\r\\n2, \\r\\n3\n",
            "add rsi, 4 << \\log2\n",
            "add rdi, 4 << \\log2\n",
            "cmp rdi, r9\n",
            "jb 20b\n",
            "done\n",
            ".endm\n",
        )
    };
}

macro_rules! vector_page_routine {
    ($name:ident, $flavour:ident, $leave:literal, $arguments:literal) => {
        #[unsafe(naked)]
        pub(in crate::arch) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
        ) -> Outcome {
            core::arch::naked_asm!(
                copy_accesses!($flavour),
                vector_steps!($leave),
                vector_page!(),
                "endbr64",
                concat!("vector_page ", $arguments),
                copy_landing_pads!($flavour, $leave),
                ".purgem done\n.purgem ld4\n.purgem st4\n.purgem vector_page",
            )
        }
    };
}

/// All copies of one vector width.
macro_rules! vector_routines {
    ($module:ident, $leave:literal, $arguments:literal) => {
        pub(super) mod $module {
            use super::*;
            vector_routine!(memcpy, plain, $leave, $arguments);
            vector_routine!(memcpy_mc, mc, $leave, $arguments);
            vector_routine!(copy_from_user, from_user, $leave, $arguments);
            vector_routine!(copy_to_user, to_user, $leave, $arguments);
            vector_page_routine!(copy_page, plain, $leave, $arguments);
            vector_page_routine!(copy_mc_page, mc, $leave, $arguments);
        }
    };
}

vector_routines!(
    sse2,
    "",
    "4, movups, xmm, 0, 1, 2, 3, 4, 5, 6, 7, movups, movups, 2048"
);
vector_routines!(
    avx,
    "vzeroupper\n",
    "5, vmovdqu, ymm, 0, 1, 2, 3, 4, 5, 6, 7, vmovdqu, vmovdqu, 8192"
);
// Registers from 16 on have no legacy halves to clear.
vector_routines!(
    avx512,
    "",
    "6, vmovdqu64, zmm, 16, 17, 18, 19, 20, 21, 22, 23, vmovdqu64, vmovdqu, 8192"
);
