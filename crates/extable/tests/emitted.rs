//! Entries as assembly emits them, found through the linker's symbols.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "the entries under test are emitted by assembly")]

use core::arch::{asm, global_asm};

use extable::{Abort, Cause, Kind, Table, sort};

extable::section!(
    /// The entries of this test.
    fn entries
);

global_asm!(
    ".pushsection .text.extable_test_routine,\"ax\",@progbits",
    ".global extable_test_routine",
    "extable_test_routine:",
    "2: nop",
    extable::entry!("2b", "9f", UserAccess, "0x3e0"),
    "3: nop",
    extable::entry!("3b", "9f", KernelAccess, "0x3e0"),
    "9: ret",
    ".popsection",
);

unsafe extern "C" {
    fn extable_test_routine();
}

/// A covered instruction inside a Rust function; returns the address of its landing pad.
#[inline(never)]
fn inline_entry() -> usize {
    let landing_pad: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a `nop` and an address; no memory is touched.
    unsafe {
        asm!(
            "2: nop",
            "lea {0}, [rip + 3f]",
            "3:",
            extable::entry!("2b", "3b", KernelAccess, "0x3e0"),
            out(reg) landing_pad,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a `nop` and an address; no memory is touched.
    unsafe {
        asm!(
            "2: nop",
            "adr {0}, 3f",
            "3:",
            extable::entry!("2b", "3b", KernelAccess, "0x3e0"),
            out(reg) landing_pad,
        );
    }
    landing_pad
}

#[test]
fn the_section_holds_what_assembly_emitted() {
    let in_place = entries().unwrap();
    // Copied, as a process does it that must not write to its own image.
    let mut copy: Vec<_> = in_place
        .iter()
        .map(|entry| extable::Entry::from_bytes(entry.to_bytes()))
        .collect();
    let bias = in_place
        .as_ptr()
        .addr()
        .wrapping_sub(copy.as_ptr().addr())
        .cast_signed();
    sort(&mut copy).unwrap();
    let table = Table::moved(&copy, bias).unwrap();
    assert_eq!(table.len(), 3);

    let routine = extable_test_routine as *const () as usize;
    let nop = if cfg!(target_arch = "x86_64") { 1 } else { 4 };
    let user = table.covering(routine).unwrap();
    let kernel = table.covering(routine + nop).unwrap();
    assert_eq!(
        (user.kind, user.landing_pad),
        (Kind::USER_ACCESS, routine + 2 * nop)
    );
    assert_eq!(
        (kernel.kind, kernel.landing_pad),
        (Kind::KERNEL_ACCESS, routine + 2 * nop)
    );
    assert_eq!(table.covering(routine + 2 * nop), None);

    let fault = Abort::new(Cause::Fault, 12);
    assert!(table.find(routine, &fault).is_some());
    assert!(table.find(routine + nop, &fault).is_none());

    let landing_pad = inline_entry();
    assert_eq!(
        table
            .iter()
            .filter(|fixup| fixup.landing_pad == landing_pad)
            .count(),
        1
    );
}
