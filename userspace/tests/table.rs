//! The table of another object: assembly that has entries, but not this crate.
#![expect(unsafe_code, reason = "assembly with entries of its own")]

mod common;

use std::arch::asm;

use common::child::{self, End};
use common::pages::{Pages, page};
use seaworthy::TableError;
use seaworthy::extable::{Entry, Malformed, section_between};

/// Loads a byte through an instruction with an entry that is in no table of this program: the
/// section has another name, as it would be in another object.
fn load(source: *const u8) -> Option<u8> {
    let (byte, report): (usize, usize);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's memory is mapped; a failure lands behind the load.
    unsafe {
        asm!(
            "2: movzx {byte:e}, byte ptr [{source}]",
            "3:",
            ".pushsection seaworthy_other_table,\"aR\",@progbits",
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            // A memory error is excused; a load of a byte through an unnamed register.
            ".short 2, 31 << 5",
            ".popsection",
            source = in(reg) source,
            byte = out(reg) byte,
            inout("r11") 0_usize => report,
            out("r10") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller's memory is mapped; a failure lands behind the load.
    unsafe {
        asm!(
            "2: ldrb {byte:w}, [{source}]",
            "3:",
            ".pushsection seaworthy_other_table,\"aR\",@progbits",
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            ".short 2, 31 << 5",
            ".popsection",
            source = in(reg) source,
            byte = out(reg) byte,
            inout("x17") 0_usize => report,
            out("x16") _,
        );
    }
    (report == 0).then_some(byte as u8)
}

fn entries() -> &'static [Entry] {
    unsafe extern "C" {
        #[link_name = "__start_seaworthy_other_table"]
        static START: Entry;
        #[link_name = "__stop_seaworthy_other_table"]
        static STOP: Entry;
    }
    // SAFETY: the linker defines these as the bounds of the section.
    unsafe { section_between(&raw const START, &raw const STOP) }.unwrap()
}

fn a_foreign_table_counts_while_it_is_registered() {
    let run = |registered: bool, kept: bool| {
        child::run(|| {
            seaworthy::install().unwrap();
            let pages = Pages::truncated(1, 1);
            assert_eq!(load(pages.at(4)), Some(5));
            if registered {
                // SAFETY: the entry above describes the load, and this program stays.
                let registration = unsafe { seaworthy::register_table(entries()) }.unwrap();
                assert_eq!(load(pages.at(page())), None);
                if kept {
                    std::mem::forget(registration);
                }
            }
            assert_eq!(load(pages.at(page())), None);
        })
    };
    assert_eq!(run(true, true), End::Returned);
    assert_eq!(run(true, false), End::Signal(libc::SIGBUS));
    assert_eq!(run(false, false), End::Signal(libc::SIGBUS));
}

fn a_table_that_is_wrong_is_refused() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0];
    let wrong = Box::leak(Box::new([Entry::from_bytes(bytes)]));
    // SAFETY: refused.
    let result = unsafe { seaworthy::register_table(wrong) };
    assert!(
        matches!(
            result,
            Err(TableError::Malformed(Malformed::UnknownKind { .. }))
        ),
        "{result:?}"
    );
}

fn there_is_room_for_many_tables_but_not_for_all() {
    let mut kept = Vec::new();
    let full = loop {
        // SAFETY: the entry describes the load.
        match unsafe { seaworthy::register_table(entries()) } {
            Ok(registration) => kept.push(registration),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000);
    };
    assert!(matches!(full, TableError::Full(_)), "{full}");
    assert!(kept.len() >= 8);
}

testing::without_threads! {
    a_foreign_table_counts_while_it_is_registered,
    a_table_that_is_wrong_is_refused,
    there_is_room_for_many_tables_but_not_for_all,
}
