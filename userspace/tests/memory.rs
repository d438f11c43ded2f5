//! The raw operations on memory of which a part cannot be read: how far each gets.
#![expect(unsafe_code, reason = "the operations take raw pointers")]

mod common;

use common::pages::{Pages, page, pattern};
use proptest::prelude::*;
use seaworthy::{Extent, Kind, Memory, MemoryError, Side};

fn memory() -> Memory {
    seaworthy::install().unwrap()
}

/// Checks all but `copied` of an error at the first page that cannot be accessed.
fn check(error: MemoryError, copied: usize, side: Side, bad: *const u8) {
    assert_eq!(error.copied, copied, "{error}");
    assert_eq!(error.side, Some(side));
    assert_eq!(error.kind, Kind::TruncatedOrIo);
    let extent = Extent {
        start: bad.addr(),
        length: page(),
    };
    assert_eq!(error.extent, Some(extent));
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(target_arch = "aarch64") {
            64
        } else {
            512
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const GOOD: usize = 3;

proptest! {
    #![proptest_config(config())]

    /// `before`: how many bytes of the range can be accessed. `length`: more than those.
    #[test]
    fn copies_stop_exactly_at_the_bad_page(
        before in prop_oneof![0..300_usize, 0..9000_usize],
        after in prop_oneof![1..300_usize, 1..4000_usize],
        to in 0..70_usize,
    ) {
        let memory = memory();
        let pages = Pages::truncated(GOOD, 2);
        let bad = pages.at(GOOD * page());
        let (start, length) = (GOOD * page() - before, before + after);
        let contents = pattern(GOOD * page());

        let mut buffer = vec![0xee; to + length + 64];
        // SAFETY: both are mapped for `length` bytes.
        let error = unsafe { memory.copy(buffer[to..].as_mut_ptr(), pages.at(start), length) };
        check(error.unwrap_err(), before, Side::Source, bad);
        prop_assert_eq!(&buffer[to..to + before], &contents[start..]);
        prop_assert!(buffer[..to].iter().chain(&buffer[to + before..]).all(|&byte| byte == 0xee));

        let source = vec![0x77; length];
        // SAFETY: as above.
        let error = unsafe { memory.copy(pages.at(start), source.as_ptr(), length) };
        check(error.unwrap_err(), before, Side::Destination, bad);
        let mut written = vec![0; GOOD * page()];
        // SAFETY: the good pages.
        unsafe { memory.copy(written.as_mut_ptr(), pages.start(), written.len()) }.unwrap();
        prop_assert_eq!(&written[..start], &contents[..start]);
        prop_assert!(written[start..].iter().all(|&byte| byte == 0x77));
    }

    #[test]
    fn every_other_operation_stops_there_too(
        before in prop_oneof![0..300_usize, 0..9000_usize],
        after in 1..4000_usize,
        place: prop::sample::Index,
    ) {
        let memory = memory();
        let pages = Pages::truncated(GOOD, 1);
        let (start, bad) = (pages.at(GOOD * page() - before), pages.at(GOOD * page()));
        let length = before + after;
        // SAFETY: mapped for `length` bytes.
        let error = unsafe { memory.fill(start, 0, length) };
        check(error.unwrap_err(), before, Side::Destination, bad);

        let zeros = vec![0; length];
        // SAFETY: all of these are mapped for `length` bytes.
        unsafe {
            check(memory.is_zero(start, length).unwrap_err(), before, Side::Source, bad);
        }
        // SAFETY: as above.
        unsafe {
            check(memory.checksum(start, length).unwrap_err(), before, Side::Source, bad);
        }
        // SAFETY: as above.
        unsafe {
            check(memory.find_byte(start, 1, length).unwrap_err(), before, Side::Source, bad);
        }
        // SAFETY: as above.
        unsafe {
            check(memory.compare(start, zeros.as_ptr(), length).unwrap_err(), before, Side::Source, bad);
        }
        // SAFETY: as above.
        unsafe {
            check(memory.compare(zeros.as_ptr(), start, length).unwrap_err(), before, Side::Source, bad);
        }

        // What comes before the failure is found, and is no failure.
        if before > 0 {
            let place = place.index(before);
            // SAFETY: inside of the good pages.
            unsafe { memory.store(start.wrapping_add(place), 1_u8) }.unwrap();
            // SAFETY: as above.
            prop_assert_eq!(unsafe { memory.is_zero(start, length) }, Ok(false));
            // SAFETY: as above.
            prop_assert_eq!(unsafe { memory.find_byte(start, 1, length) }, Ok(Some(place)));
            // SAFETY: as above.
            prop_assert_eq!(unsafe { memory.compare(start, zeros.as_ptr(), length) }, Ok(Some(place)));
        }
    }
}

macro_rules! values {
    ($($type:ty),*) => {$({
        let memory = memory();
        let pages = Pages::truncated(1, 1);
        let bad = pages.at(page());
        let width = size_of::<$type>();
        let value = <$type>::from_le_bytes(std::array::from_fn(|index| 0x91 + index as u8));
        for offset in 0..width {
            let place = pages.at(page() - width - offset).cast::<$type>();
            // SAFETY: inside of the first page.
            unsafe { memory.store(place, value) }.unwrap();
            // SAFETY: as above.
            assert_eq!(unsafe { memory.load(place) }, Ok(value));
            // Wholly or partly in the second page.
            let place = pages.at(page() - offset).cast::<$type>();
            // Above 8 bytes it is a copy, which gets as far as it can.
            let copied = if width > 8 { offset } else { 0 };
            // SAFETY: mapped.
            check(unsafe { memory.load(place) }.unwrap_err(), copied, Side::Source, bad);
            // SAFETY: mapped.
            check(unsafe { memory.store(place, value) }.unwrap_err(), copied, Side::Destination, bad);
        }
    })*};
}

#[test]
fn values_of_1_to_16_bytes() {
    values!(
        u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, usize
    );
    let memory = memory();
    let pages = Pages::truncated(1, 1);
    // SAFETY: in the first page.
    let three = unsafe { memory.load(pages.at(4).cast::<[u8; 3]>()) }.unwrap();
    assert_eq!(three, [5, 6, 7]);
    // SAFETY: mapped.
    let error = unsafe { memory.load(pages.at(page() - 2).cast::<[u8; 7]>()) }.unwrap_err();
    assert_eq!(error.copied, 2);
}

#[test]
fn nothing_fails_where_nothing_is_bad() {
    let memory = memory();
    let pages = Pages::truncated(2, 1);
    let contents = pattern(2 * page());
    let mut buffer = vec![0; 2 * page()];
    // SAFETY: the good pages.
    unsafe { memory.copy(buffer.as_mut_ptr(), pages.start(), buffer.len()) }.unwrap();
    assert!(buffer == contents);
    // SAFETY: an empty range at a bad page.
    unsafe { memory.copy(buffer.as_mut_ptr(), pages.at(2 * page()), 0) }.unwrap();
    // SAFETY: the good pages.
    let same = unsafe { memory.compare(pages.start(), contents.as_ptr(), contents.len()) };
    assert_eq!(same, Ok(None));
    assert!(!memory.variant().is_empty());
}

#[test]
fn a_page_that_comes_back_can_be_read() {
    let memory = memory();
    let file = common::pages::memory_file(page());
    let pages = Pages::of(&file, 1);
    file.set_len(0).unwrap();
    // SAFETY: mapped.
    let error = unsafe { memory.load(pages.start()) }.unwrap_err();
    assert_eq!(error.kind, Kind::TruncatedOrIo);
    file.set_len(1).unwrap();
    // SAFETY: mapped.
    assert_eq!(unsafe { memory.load(pages.start()) }, Ok(0));
}

#[test]
fn threads_recover_at_the_same_time() {
    let memory = memory();
    let pages = Pages::truncated(1, 1);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pages = &pages;
            scope.spawn(move || {
                let mut buffer = vec![0; 2 * page()];
                for turn in 0..200 {
                    let before = (thread * 131 + turn * 17) % page();
                    let source = pages.at(page() - before);
                    // SAFETY: mapped for so many bytes.
                    let result = unsafe { memory.copy(buffer.as_mut_ptr(), source, before + 100) };
                    assert_eq!(result.unwrap_err().copied, before);
                }
            });
        }
    });
}
