//! Accesses of one word, inlined: one covered instruction, and a register that is 0 unless a
//! fixup put its report there.

use core::arch::asm;

/// The data bits of an access whose base register the compiler chose.
macro_rules! load_entry {
    ($kind:ident, $log2:literal) => {
        extable::entry!("2b", "3b", $kind, "(31 << 5 | ", $log2, " << 2)")
    };
}
macro_rules! store_entry {
    ($kind:ident, $log2:literal) => {
        extable::entry!("2b", "3b", $kind, "(31 << 5 | ", $log2, " << 2 | 1)")
    };
}

macro_rules! loads {
    ($module:ident, $kind:ident) => {
        pub(crate) mod $module {
            use super::*;
            loads!(@ byte, u8, $kind, reg_byte, "0", "2: mov {value}, [{source}]");
            loads!(@ half, u16, $kind, reg, "1", "2: mov {value:x}, [{source}]");
            loads!(@ word, u32, $kind, reg, "2", "2: mov {value:e}, [{source}]");
            loads!(@ double, u64, $kind, reg, "3", "2: mov {value}, [{source}]");
        }
    };
    (@ $name:ident, $type:ty, $kind:ident, $class:ident, $log2:literal, $text:literal) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(source: *const $type) -> ($type, usize) {
            let (value, report);
            // SAFETY: the caller may read the word; a failure lands behind the load.
            unsafe {
                asm!(
                    $text,
                    "3:",
                    load_entry!($kind, $log2),
                    source = in(reg) source,
                    value = out($class) value,
                    inout("r11") 0_usize => report,
                    out("r10") _,
                    options(nostack, preserves_flags),
                );
            }
            (value, report)
        }
    };
}

macro_rules! stores {
    ($module:ident, $kind:ident) => {
        pub(crate) mod $module {
            use super::*;
            stores!(@ byte, u8, $kind, reg_byte, "0", "2: mov [{destination}], {value}");
            stores!(@ half, u16, $kind, reg, "1", "2: mov [{destination}], {value:x}");
            stores!(@ word, u32, $kind, reg, "2", "2: mov [{destination}], {value:e}");
            stores!(@ double, u64, $kind, reg, "3", "2: mov [{destination}], {value}");
        }
    };
    (@ $name:ident, $type:ty, $kind:ident, $class:ident, $log2:literal, $text:literal) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(destination: *mut $type, value: $type) -> usize {
            let report;
            // SAFETY: the caller may write the word; a failure lands behind the store.
            unsafe {
                asm!(
                    $text,
                    "3:",
                    store_entry!($kind, $log2),
                    destination = in(reg) destination,
                    value = in($class) value,
                    inout("r11") 0_usize => report,
                    out("r10") _,
                    options(nostack, preserves_flags),
                );
            }
            report
        }
    };
}

macro_rules! cmpxchg {
    ($name:ident, $kind:ident) => {
        #[inline(always)]
        pub(crate) unsafe fn $name(target: *mut u32, old: u32, new: u32) -> (u32, usize) {
            let (was, report);
            // SAFETY: the caller may access the word; a failure lands behind the instruction.
            unsafe {
                asm!(
                    "2: lock cmpxchg [{target}], {new:e}",
                    "3:",
                    store_entry!($kind, "2"),
                    target = in(reg) target,
                    new = in(reg) new,
                    inout("eax") old => was,
                    inout("r11") 0_usize => report,
                    out("r10") _,
                    options(nostack),
                );
            }
            (was, report)
        }
    };
}

loads!(load_mc, KernelAccess);
loads!(get_user, UserAccess);
stores!(store_mc, KernelAccess);
stores!(put_user, UserAccess);
cmpxchg!(cmpxchg_mc, KernelAccess);
cmpxchg!(cmpxchg_user, UserAccess);
