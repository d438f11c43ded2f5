//! The assembler macros with which every routine accesses memory, and the landing pads of copies.
//!
//! A routine's text is written once. It accesses memory through `load8`, `store16` and their kin,
//! named by the number of bytes; the flavour decides which instruction each becomes and what it
//! leaves in the exception table. The plain flavour leaves nothing there and is otherwise the mc
//! flavour, so the fault-free instructions of the two are the same.
//!
//! ```text
//! load1  w6, BASE, OFFSET          and load4 (w6), load8 (x6); store1, store4, store8
//! load16 x6, x7, BASE, OFFSET      and store16
//! ```
//!
//! At every covered instruction these hold, and the landing pads rely on them:
//!
//! | register | copy | fill | compare | is zero |
//! |---|---|---|---|---|
//! | `x0` | destination: all below is written | the same | first: all below is equal | all below is zero |
//! | `x1` | source, at the same progress | | second, the same | |
//! | `x4` | end of the destination | the same | end of the first | end |
//! | `x16`, `x17` | nothing: a fixup puts the limit and the report there | | | |
//!
//! Loads may run ahead of stores. A pad finishes what lies below the limit byte by byte, from
//! `x0` and `x1` on. Its own accesses are covered, so the count is exact, and no unit that is
//! known to be bad is touched again.
//!
//! Every step loads, and stores, from lower to higher addresses: the first access that fails then
//! tells the lowest bad unit, and nothing behind it has been written.

/// One assembler macro around one instruction, and its entry in the table.
///
/// `access!(name, registers, instruction, log2 of the width, landing pad, kind)`, where the kind
/// `none` leaves no entry. Name and instruction begin with `load` and `ld`, or `store` and `st`.
macro_rules! access {
    (load $size:literal, $($rest:tt)*) => {
        access!(@ "load", $size, "ld", "0", $($rest)*)
    };
    (store $size:literal, $($rest:tt)*) => {
        access!(@ "store", $size, "st", "1", $($rest)*)
    };
    (
        @ $verb:literal, $size:literal, $stem:literal, $direction:literal,
        $registers:literal, $instruction:literal, $log2_width:literal, $pad:literal, $kind:ident
    ) => {
        concat!(
            ".macro ", $verb, $size, " ", $registers, ", base, offset\n",
            ".Laccess\\@: ", $stem, $instruction, ", [\\base, #\\offset]\n",
            access!(@entry $direction, $log2_width, $pad, $kind),
            ".endm\n",
        )
    };
    (@entry $direction:literal, $log2_width:literal, $pad:literal, none) => {
        ""
    };
    (@entry $direction:literal, $log2_width:literal, $pad:literal, $kind:ident) => {
        extable::entry!(
            ".Laccess\\@", $pad, $kind,
            "((((\\offset) >> ", $log2_width, ") & 63) << 10",
            " | .L\\base << 5 | ", $log2_width, " << 2 | ", $direction, ")"
        )
    };
}

/// The numbers of the registers that serve as bases, for the entries.
macro_rules! base_registers {
    () => {
        "
        .set .Lx0, 0
        .set .Lx1, 1
        .set .Lx4, 4
        .set .Lx5, 5
        .set .Lx6, 6
        .set .Lx7, 7
        "
    };
}

/// The accesses of one side up to 8 bytes, by ordinary instructions.
macro_rules! narrow_side {
    ($side:ident, $pad:literal, $kind:ident) => {
        concat!(
            access!($side "1", "a", "rb \\a", "0", $pad, $kind),
            access!($side "4", "a", "r \\a", "2", $pad, $kind),
            access!($side "8", "a", "r \\a", "3", $pad, $kind),
        )
    };
}

/// Those, and a pair of general registers.
macro_rules! side {
    ($side:ident, $pad:literal, $kind:ident) => {
        concat!(
            narrow_side!($side, $pad, $kind),
            access!($side "16", "a, b", "p \\a, \\b", "4", $pad, $kind),
        )
    };
}

/// As [`side`] with the privilege of user mode. There is no instruction for a pair.
macro_rules! user_side {
    ($side:ident, $pad:literal) => {
        concat!(
            access!($side "1", "a", "trb \\a", "0", $pad, UserAccess),
            access!($side "4", "a", "tr \\a", "2", $pad, UserAccess),
            access!($side "8", "a", "tr \\a", "3", $pad, UserAccess),
            ".macro ", stringify!($side), "16 a, b, base, offset\n",
            stringify!($side), "8 \\a, \\base, (\\offset)\n",
            stringify!($side), "8 \\b, \\base, (\\offset + 8)\n",
            ".endm\n",
        )
    };
}

/// Defines the macros of a copy for one flavour, in front of a routine.
macro_rules! copy_accesses {
    (plain) => {
        concat!(side!(load, "", none), side!(store, "", none))
    };
    (mc) => {
        concat!(
            base_registers!(),
            side!(load, "91f", KernelAccess),
            side!(store, "92f", KernelAccess),
        )
    };
    (from_user) => {
        concat!(
            base_registers!(),
            user_side!(load, "91f"),
            side!(store, "92f", KernelAccess),
        )
    };
    (to_user) => {
        concat!(
            base_registers!(),
            side!(load, "91f", KernelAccess),
            user_side!(store, "92f"),
        )
    };
}

/// Removes what [`copy_accesses`] defined.
macro_rules! end_copy_accesses {
    () => {
        "
        .purgem load1
        .purgem load4
        .purgem load8
        .purgem load16
        .purgem store1
        .purgem store4
        .purgem store8
        .purgem store16
        "
    };
}

/// The landing pads of a copy: 91 for loads, 92 for stores.
macro_rules! copy_landing_pads {
    (plain) => {
        ""
    };
    (mc) => {
        copy_landing_pads!(@ "rb \\a", KernelAccess, "rb \\a", KernelAccess)
    };
    (from_user) => {
        copy_landing_pads!(@ "trb \\a", UserAccess, "rb \\a", KernelAccess)
    };
    (to_user) => {
        copy_landing_pads!(@ "rb \\a", KernelAccess, "trb \\a", UserAccess)
    };
    (@ $load:literal, $load_kind:ident, $store:literal, $store_kind:ident) => {
        concat!(
            base_registers!(),
            access!(load "_last", "a", $load, "0", "94f", $load_kind),
            access!(store "_last", "a", $store, "0", "94f", $store_kind),
            "
            91: subs    x3, x16, x1
                b.hi    95f
                b       94f
            92: subs    x3, x16, x0
                b.ls    94f
            95: sub     x2, x4, x0
                cmp     x3, x2
                csel    x3, x3, x2, lo
                cbz     x3, 94f
            96:
                load_last w2, x1, 0
                store_last w2, x0, 0
                add     x1, x1, #1
                add     x0, x0, #1
                subs    x3, x3, #1
                b.ne    96b
            94: sub     x0, x4, x0
                mov     x1, x17
                ret
            .purgem load_last
            .purgem store_last
            ",
        )
    };
}

pub(super) use {
    access, base_registers, copy_accesses, copy_landing_pads, end_copy_accesses, narrow_side, side,
    user_side,
};
