//! Accesses of one word, inlined: one covered instruction, and a register that is 0 unless a
//! fixup put its report there.

use core::arch::asm;

/// The data bits of an access whose base register the compiler chose.
macro_rules! load_entry {
    ($label:literal, $kind:ident, $log2_width:literal) => {
        extable::entry!($label, "4f", $kind, "(31 << 5 | ", $log2_width, " << 2)")
    };
}
macro_rules! store_entry {
    ($label:literal, $kind:ident, $log2_width:literal) => {
        extable::entry!(
            $label,
            "4f",
            $kind,
            "(31 << 5 | ",
            $log2_width,
            " << 2 | 1)"
        )
    };
}

macro_rules! loads {
    ($module:ident, $kind:ident, $byte:literal, $half:literal, $any:literal) => {
        pub(crate) mod $module {
            use super::*;
            loads!(@ byte, u8, $kind, "0", concat!($byte, " {value:w}"));
            loads!(@ half, u16, $kind, "1", concat!($half, " {value:w}"));
            loads!(@ word, u32, $kind, "2", concat!($any, " {value:w}"));
            loads!(@ double, u64, $kind, "3", concat!($any, " {value:x}"));
        }
    };
    (@ $name:ident, $type:ty, $kind:ident, $log2_width:literal, $load:expr) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(source: *const $type) -> ($type, usize) {
            let (value, report);
            // SAFETY: the caller may read the word; a failure lands behind the load.
            unsafe {
                asm!(
                    concat!("2: ", $load, ", [{source}]"),
                    load_entry!("2b", $kind, $log2_width),
                    "4:",
                    source = in(reg) source,
                    value = out(reg) value,
                    inout("x17") 0_usize => report,
                    out("x16") _,
                    options(nostack, preserves_flags),
                );
            }
            (value, report)
        }
    };
}

macro_rules! stores {
    ($module:ident, $kind:ident, $byte:literal, $half:literal, $any:literal) => {
        pub(crate) mod $module {
            use super::*;
            stores!(@ byte, u8, $kind, "0", concat!($byte, " {value:w}"));
            stores!(@ half, u16, $kind, "1", concat!($half, " {value:w}"));
            stores!(@ word, u32, $kind, "2", concat!($any, " {value:w}"));
            stores!(@ double, u64, $kind, "3", concat!($any, " {value:x}"));
        }
    };
    (@ $name:ident, $type:ty, $kind:ident, $log2_width:literal, $store:expr) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(destination: *mut $type, value: $type) -> usize {
            let report;
            // SAFETY: the caller may write the word; a failure lands behind the store.
            unsafe {
                asm!(
                    concat!("2: ", $store, ", [{destination}]"),
                    store_entry!("2b", $kind, $log2_width),
                    "4:",
                    destination = in(reg) destination,
                    value = in(reg) value,
                    inout("x17") 0_usize => report,
                    out("x16") _,
                    options(nostack, preserves_flags),
                );
            }
            report
        }
    };
}

/// Load-exclusive and store-exclusive, which every CPU has.
///
/// The loop has no bound. A store-exclusive fails only because another access to the line came
/// between, so among all CPUs somebody advances; and whoever is kept waiting by a hostile process
/// waits with interrupts as its caller left them, so the scheduler takes the CPU from both. A
/// bound would need a third outcome that no caller could handle other than by trying again.
macro_rules! cmpxchg {
    ($name:ident, $kind:ident) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(target: *mut u32, old: u32, new: u32) -> (u32, usize) {
            let (was, report);
            // SAFETY: the caller may access the word; a failure lands behind the loop.
            unsafe {
                asm!(
                    "2: ldaxr {was:w}, [{target}]",
                    load_entry!("2b", $kind, "2"),
                    "cmp {was:w}, {old:w}",
                    "b.ne 4f",
                    "3: stlxr {failed:w}, {new:w}, [{target}]",
                    store_entry!("3b", $kind, "2"),
                    "cbnz {failed:w}, 2b",
                    "4:",
                    target = in(reg) target,
                    old = in(reg) old,
                    new = in(reg) new,
                    was = out(reg) was,
                    failed = out(reg) _,
                    inout("x17") 0_usize => report,
                    out("x16") _,
                    options(nostack),
                );
            }
            (was, report)
        }
    };
}

loads!(load_mc, KernelAccess, "ldrb", "ldrh", "ldr");
loads!(get_user, UserAccess, "ldtrb", "ldtrh", "ldtr");
stores!(store_mc, KernelAccess, "strb", "strh", "str");
stores!(put_user, UserAccess, "sttrb", "sttrh", "sttr");
cmpxchg!(cmpxchg_mc, KernelAccess);
cmpxchg!(cmpxchg_user, UserAccess);
