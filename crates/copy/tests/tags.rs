//! Copies of memory tags (FEAT_MTE2): what arrives, where they stop, and how they are covered.
//!
//! `copy_mc_page_tags` is made of instructions that are undefined at EL0, so only its layout can
//! be checked here.
#![cfg(all(not(miri), target_arch = "aarch64"))]
#![expect(unsafe_code, reason = "failing memory, signals and raw pointers")]

#[path = "support/decode/mod.rs"]
mod decode;
mod support;

use std::collections::HashSet;
use std::ptr;

use copy::Features;
use copy::extable::{Cause, Kind, Side};

use support::code::{code, find};
use support::pages::{Pages, State};
use support::{PAGE, Session, table};

const GRANULE: usize = 16;

/// Every access of both routines has its entry.
#[test]
fn every_access_has_its_entry() {
    // Keeps the routine that cannot run here in the program.
    std::hint::black_box(copy::copy_mc_page_tags as *const ());
    for name in ["4tags11copy_blocks", "4tags13copy_granules"] {
        let address = find(name);
        let entries: Vec<_> = table()
            .iter()
            .filter(|entry| (address..address + code(address).len()).contains(&entry.instruction))
            .collect();
        let accesses = decode::accesses(code(address));
        assert_eq!((accesses.len(), entries.len()), (2, 2), "{name}");
        for (access, entry) in accesses.iter().zip(entries) {
            assert_eq!(address + access.offset, entry.instruction);
            assert!(access.access.is_described_by(entry.access().unwrap()));
            assert_eq!(entry.kind, Kind::KERNEL_ACCESS);
        }
    }
}

fn has_tags() -> bool {
    Features::detect().contains(Features::TAGS)
}

#[test]
fn tags_stop_where_memory_fails_and_every_entry_fires() {
    if !has_tags() {
        testing::skip!("this processor has no memory tags");
    }
    let session = Session::start();
    session.faults_are_memory_errors(true);
    let (mut source, mut destination) = (Pages::new(2), Pages::new(2));
    let mut fired = HashSet::new();
    for (failing, state) in [
        (Side::Source, State::Forbidden),
        (Side::Destination, State::ReadOnly),
    ] {
        match failing {
            Side::Source => source.set(1, state),
            Side::Destination => destination.set(1, state),
        }
        for readable in (0..PAGE).step_by(GRANULE) {
            let begin = PAGE - readable;
            session.begin();
            let (to, from) = (destination.at(begin), source.at(begin));
            // SAFETY: both ranges lie in mappings of ours, and the CPU has tags.
            let incomplete = unsafe { copy::copy_mc_tags(to, from, PAGE) }.unwrap_err();
            assert_eq!((incomplete.copied, session.signals()), (readable, 1));
            assert_eq!(
                (incomplete.side(), incomplete.cause()),
                (Some(failing), Cause::MemoryError)
            );
            fired.extend(session.fired());
        }
        source.restore();
        destination.restore();
    }
    session.faults_are_memory_errors(false);
    let address = find("4tags13copy_granules");
    let silent = table().iter().find(|entry| {
        (address..address + code(address).len()).contains(&entry.instruction)
            && !fired.contains(&entry.instruction)
    });
    assert_eq!(silent, None);
}

/// Two fresh pages whose tags are stored.
fn tagged_pages() -> *mut u8 {
    const PR_SET_TAGGED_ADDR_CTRL: i32 = 55;
    const PR_TAGGED_ADDR_ENABLE: u64 = 1;
    const PROT_MTE: i32 = 0x20;
    // SAFETY: lets system calls take tagged addresses; no tag is checked without a further bit.
    let result = unsafe { libc::prctl(PR_SET_TAGGED_ADDR_CTRL, PR_TAGGED_ADDR_ENABLE, 0, 0, 0) };
    assert_eq!(result, 0);
    let access = libc::PROT_READ | libc::PROT_WRITE | PROT_MTE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let pages = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, access, flags, -1, 0) };
    assert_ne!(pages, libc::MAP_FAILED);
    pages.cast()
}

#[target_feature(enable = "mte")]
fn set_tag(place: *mut u8, tag: usize) {
    let tagged = place.map_addr(|address| address | tag << 56);
    // SAFETY: the granule lies in a mapping of ours; its data do not change.
    unsafe { std::arch::asm!("stg {0}, [{0}]", in(reg) tagged, options(nostack)) };
}

#[target_feature(enable = "mte")]
fn tag(place: *const u8) -> usize {
    let mut tagged = place;
    // SAFETY: the granule lies in a mapping of ours.
    unsafe { std::arch::asm!("ldg {0}, [{0}]", inout(reg) tagged, options(nostack)) };
    tagged.addr() >> 56 & 0xf
}

#[test]
fn tags_arrive() {
    if !has_tags() {
        testing::skip!("this processor has no memory tags");
    }
    let source = tagged_pages();
    let destination = source.wrapping_add(PAGE);
    let expected = |granule: usize| (granule * 7 + 3) % 16;
    for granule in 0..PAGE / GRANULE {
        // SAFETY: the CPU has tags.
        unsafe { set_tag(source.wrapping_add(granule * GRANULE), expected(granule)) };
    }
    for (first, count) in [(0, 0), (5, 1), (100, 3), (0, PAGE / GRANULE)] {
        for granule in 0..PAGE / GRANULE {
            // SAFETY: the CPU has tags.
            unsafe { set_tag(destination.wrapping_add(granule * GRANULE), 0) };
        }
        let (offset, length) = (first * GRANULE, count * GRANULE);
        let (to, from) = (
            destination.wrapping_add(offset),
            source.wrapping_add(offset),
        );
        // SAFETY: both ranges lie in a mapping of ours, and the CPU has tags.
        unsafe { copy::copy_mc_tags(to, from, length) }.unwrap();
        for granule in 0..PAGE / GRANULE {
            let inside = (first..first + count).contains(&granule);
            // SAFETY: the CPU has tags.
            let tag = unsafe { tag(destination.wrapping_add(granule * GRANULE)) };
            assert_eq!(
                tag,
                if inside { expected(granule) } else { 0 },
                "granule {granule}, copied {first} and {count} more"
            );
        }
    }
}

#[test]
#[should_panic(expected = "granules of 16 bytes")]
fn a_part_of_a_granule_has_no_tag() {
    let mut page = [0_u8; 64];
    // SAFETY: panics before anything is accessed.
    let _ = unsafe { copy::copy_mc_tags(page.as_mut_ptr(), ptr::null(), 17) };
}
