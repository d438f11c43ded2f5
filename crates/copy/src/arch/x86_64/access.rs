//! The assembler macros with which every routine accesses memory, and the landing pads.
//!
//! A routine's text is written once. It accesses memory through `ld`, `st` and their kin; the
//! flavour decides what those leave in the exception table. The plain flavour leaves nothing, so
//! the fault-free instructions of all flavours are the same.
//!
//! ```text
//! ld BASE, OFFSET, LOG2_WIDTH, INSTRUCTION      a load that may fail; the failing pad is 91
//! st BASE, OFFSET, LOG2_WIDTH, INSTRUCTION      a store; 92
//! movs                                          rep movsb; 93
//! ```
//!
//! Bases are numbers as instructions encode them: rsi 6, rdi 7, r8, r9. At every covered
//! instruction these hold, and the landing pads rely on them:
//!
//! | register | copy | fill | compare | is zero |
//! |---|---|---|---|---|
//! | `rdi` | destination: all below is written | the same | first: all below is equal | all below is zero |
//! | `rsi` | source, at the same progress | | second, the same | |
//! | `r9` | end of the destination | the same | end of the first | end |
//! | `r10`, `r11` | nothing: a fixup puts the limit and the report there | | | |
//!
//! A pad finishes what lies below the limit byte by byte. Its own accesses are covered, so the
//! count is exact, and no unit that is known to be bad is touched again.

/// One macro around an instruction that leaves an entry.
macro_rules! covered {
    ($macro:ident, $kind:ident, $direction:literal, $landing_pad:literal) => {
        concat!(
            ".macro ",
            stringify!($macro),
            " base, offset, log2_width, instruction:vararg\n",
            ".Laccess\\@: \\instruction\n",
            extable::entry!(
                ".Laccess\\@",
                $landing_pad,
                $kind,
                "((((\\offset) >> (\\log2_width)) & 63) << 10",
                " | (\\base) << 5 | (\\log2_width) << 2 | ",
                $direction,
                ")"
            ),
            ".endm\n",
        )
    };
}

/// One macro around an instruction that leaves none.
macro_rules! uncovered {
    ($macro:ident) => {
        concat!(
            ".macro ",
            stringify!($macro),
            " base, offset, log2_width, instruction:vararg\n",
            "\\instruction\n",
            ".endm\n",
        )
    };
}

/// Defines the macros of a copy for one flavour, in front of a routine.
macro_rules! copy_accesses {
    (plain) => {
        concat!(uncovered!(ld), uncovered!(st), ".macro movs\nrep movsb\n.endm\n")
    };
    (mc) => {
        copy_accesses!(@ KernelAccess, KernelAccess, KernelAccess, "0")
    };
    (from_user) => {
        copy_accesses!(@ UserAccess, KernelAccess, UserCopy, "0")
    };
    (to_user) => {
        copy_accesses!(@ KernelAccess, UserAccess, UserCopy, "4")
    };
    (@ $load:ident, $store:ident, $copy:ident, $user_is_destination:literal) => {
        concat!(
            covered!(ld, $load, "0", "91f"),
            covered!(st, $store, "1", "92f"),
            covered!(pad_ld, $load, "0", "94f"),
            covered!(pad_st, $store, "1", "94f"),
            ".macro movs\n",
            ".Laccess\\@: rep movsb\n",
            // From rsi (6) to rdi (7), with a reach of 256 bytes.
            extable::entry!(
                ".Laccess\\@", "93f", $copy, "(7 << 10 | 6 << 5 | 2 | ", $user_is_destination, ")"
            ),
            ".endm\n",
        )
    };
}

/// The landing pads of a copy; `$leave` is what the variant does before `ret`.
macro_rules! copy_landing_pads {
    (plain, $leave:literal) => {
        ".purgem ld\n.purgem st\n.purgem movs\n"
    };
    ($flavour:ident, $leave:literal) => {
        concat!(
            // `rep movsb`: bits 2 and 1 of the report say on which side, if that is known. If
            // not, the limit is the largest number, and the loop finds the place.
            "93: test r11d, 4\n",
            "jnz 92f\n",
            "test r11d, 2\n",
            "jz 95f\n",
            "91: sub r10, rsi\n",
            "ja 95f\n",
            "jmp 94f\n",
            "92: sub r10, rdi\n",
            "jbe 94f\n",
            "95: mov rcx, r9\n",
            "sub rcx, rdi\n",
            "cmp rcx, r10\n",
            "cmova rcx, r10\n",
            "test rcx, rcx\n",
            "jz 94f\n",
            "96:\n",
            "pad_ld 6, 0, 0, movzx eax, byte ptr [rsi]\n",
            "pad_st 7, 0, 0, mov byte ptr [rdi], al\n",
            "inc rsi\n",
            "inc rdi\n",
            "dec rcx\n",
            "jnz 96b\n",
            "94: mov rax, r9\n",
            "sub rax, rdi\n",
            "mov rdx, r11\n",
            $leave,
            "ret\n",
            ".purgem ld\n.purgem st\n.purgem pad_ld\n.purgem pad_st\n.purgem movs\n",
        )
    };
}

pub(super) use {copy_accesses, copy_landing_pads, covered, uncovered};
