//! Every routine on memory that does not fail, against plain Rust: sizes, alignments, nothing
//! touched beside the ranges. Runs under Miri too, on the generic routines.
#![expect(unsafe_code, reason = "the routines take raw pointers")]

use copy::{PAGE_SIZE, Routines};
use proptest::prelude::*;

/// Bytes before and after every range, which nobody may change.
const GUARD: usize = 64;
const MAX: usize = if cfg!(miri) { 300 } else { 20_000 };

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 512 };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The variants that this CPU can run.
fn runnable() -> impl Iterator<Item = &'static Routines> {
    let features = copy::Features::detect();
    Routines::all()
        .iter()
        .filter(move |routines| features.contains(routines.requires()))
}

/// Bytes that differ from place to place and from seed to seed.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn copies_and_fills_touch_exactly_their_range(
        length in prop_oneof![0..300_usize, 0..MAX],
        from in 0..64_usize,
        to in 0..64_usize,
        value: u8,
    ) {
        let source = pattern(from + length, 7);
        for routines in runnable() {
            let expect = |what: &str, run: &dyn Fn(*mut u8, *const u8), bytes: &[u8]| {
                let mut destination = pattern(GUARD + to + length + GUARD, 99);
                let mut expected = destination.clone();
                let start = GUARD + to;
                expected[start..start + length].copy_from_slice(bytes);
                run(destination[start..].as_mut_ptr(), source[from..].as_ptr());
                assert!(destination == expected, "{what} of {}: {length} bytes", routines.name());
            };
            // SAFETY: `expect` passes ranges of `length` bytes in two different buffers.
            unsafe {
                expect("memcpy", &|d, s| routines.memcpy(d, s, length), &source[from..]);
            }
            // SAFETY: as above.
            unsafe {
                expect("memcpy_mc", &|d, s| routines.memcpy_mc(d, s, length).unwrap(), &source[from..]);
            }
            // SAFETY: as above; these buffers are user memory, for all the CPU knows.
            unsafe {
                expect("copy_from_user", &|d, s| routines.copy_from_user(d, s, length).unwrap(), &source[from..]);
            }
            // SAFETY: as above.
            unsafe {
                expect("copy_to_user", &|d, s| routines.copy_to_user(d, s, length).unwrap(), &source[from..]);
            }
            // SAFETY: as above.
            unsafe {
                expect("fill_mc", &|d, _| routines.fill_mc(d, value, length).unwrap(), &vec![value; length]);
            }
            // SAFETY: as above.
            unsafe {
                expect("clear_user", &|d, _| routines.clear_user(d, length).unwrap(), &vec![0; length]);
            }
        }
    }

    #[test]
    fn searches_find_the_first_place(
        length in prop_oneof![0..300_usize, 0..MAX],
        from in 0..64_usize,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut bytes = vec![0_u8; from + length];
        for place in &places {
            if length > 0 {
                bytes[from + place.index(length)] = 1 << (length % 8);
            }
        }
        let zeros = vec![0_u8; length + 1];
        let expected = bytes[from..].iter().position(|&byte| byte != 0);
        let range = bytes[from..].as_ptr();
        for routines in runnable() {
            // SAFETY: all ranges are `length` bytes of the buffers above.
            let found = unsafe { routines.is_zero_mc(range, length) };
            prop_assert_eq!(found, Ok(expected), "is_zero_mc of {}", routines.name());
            // SAFETY: as above.
            let found = unsafe { routines.compare_mc(zeros.as_ptr(), range, length) };
            prop_assert_eq!(found, Ok(expected), "compare_mc of {}", routines.name());
            // SAFETY: as above.
            let found = unsafe { copy::find_byte_mc(routines, range, 1 << (length % 8), length) };
            prop_assert_eq!(found, Ok(expected), "find_byte_mc of {}", routines.name());
        }
    }

    #[test]
    fn strings_end_at_their_zero(text in prop::collection::vec(1..=255_u8, 0..600), room in 0..600_usize) {
        let mut source = text.clone();
        source.push(0);
        source.resize(source.len().max(room), 0xaa);
        for routines in runnable() {
            let mut destination = vec![0x55_u8; room];
            // SAFETY: the source has at least `room` bytes.
            let length = unsafe { copy::strncpy_from_user(routines, &mut destination, source.as_ptr()) };
            prop_assert_eq!(length, Ok(text.len().min(room)));
            let written = room.min(text.len() + 1);
            prop_assert_eq!(&destination[..written], &source[..written]);
            prop_assert!(destination[written..].iter().all(|&byte| byte == 0x55));
        }
    }

    #[test]
    fn a_checksum_depends_on_every_bit(length in 1..600_usize, place: prop::sample::Index, bit in 0..8_u32) {
        let mut bytes = pattern(length, 3);
        for routines in runnable() {
            let sum = |bytes: &[u8]| {
                // SAFETY: the range is the slice.
                unsafe { copy::checksum_mc(routines, bytes.as_ptr(), bytes.len()) }.unwrap()
            };
            let before = sum(&bytes);
            bytes[place.index(length)] ^= 1 << bit;
            prop_assert_ne!(before, sum(&bytes));
            prop_assert_ne!(sum(&bytes), sum(&bytes[..length - 1]));
        }
    }
}

#[repr(align(4096))]
struct Page([u8; PAGE_SIZE]);

#[test]
fn pages_arrive_whole() {
    let source = Page(pattern(PAGE_SIZE, 5).try_into().unwrap());
    for routines in runnable() {
        let mut destination = [
            Page([1; PAGE_SIZE]),
            Page([2; PAGE_SIZE]),
            Page([3; PAGE_SIZE]),
        ];
        // SAFETY: both are pages, and not the same.
        unsafe { routines.copy_page(destination[1].0.as_mut_ptr(), source.0.as_ptr()) };
        assert!(
            destination[1].0 == source.0,
            "copy_page of {}",
            routines.name()
        );
        destination[1].0.fill(9);
        // SAFETY: both are pages, and not the same.
        unsafe { routines.copy_mc_page(destination[1].0.as_mut_ptr(), source.0.as_ptr()) }.unwrap();
        assert!(
            destination[1].0 == source.0,
            "copy_mc_page of {}",
            routines.name()
        );
        assert!(destination[0].0 == [1; PAGE_SIZE] && destination[2].0 == [3; PAGE_SIZE]);
    }
}

macro_rules! words {
    ($($test:ident: $type:ty),*) => {$(
        #[test]
        fn $test() {
            let mut bytes = [0x11_u8; 32];
            let value = <$type>::from_le_bytes(std::array::from_fn(|index| 0x80 + index as u8));
            for offset in 0..8 {
                let place = bytes[8 + offset..].as_mut_ptr().cast::<$type>();
                // SAFETY: eight bytes from `place` on are inside the array.
                unsafe { copy::store_mc(place, value) }.unwrap();
                // SAFETY: as above.
                assert_eq!(unsafe { copy::load_mc(place) }, Ok(value));
                // SAFETY: as above.
                assert_eq!(unsafe { copy::get_user(place) }, Ok(value));
                // SAFETY: as above.
                unsafe { copy::put_user(place, !value) }.unwrap();
                // SAFETY: as above.
                assert_eq!(unsafe { place.read_unaligned() }, !value);
                let changed = bytes.iter().filter(|&&byte| byte != 0x11).count();
                assert_eq!(changed, size_of::<$type>());
                bytes.fill(0x11);
            }
        }
    )*};
}

words!(bytes: u8, halves: u16, words: u32, doubles: u64);

#[test]
fn compare_and_exchange() {
    let mut word = 5_u32;
    let target = &raw mut word;
    for cmpxchg in [copy::cmpxchg_mc, copy::cmpxchg_user] {
        // SAFETY: `target` is a local, aligned word that nothing else uses meanwhile.
        unsafe {
            target.write(5);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { cmpxchg(target, 4, 9) }, Ok(5));
        // SAFETY: as above.
        assert_eq!(unsafe { cmpxchg(target, 5, 9) }, Ok(5));
        // SAFETY: as above.
        assert_eq!(unsafe { cmpxchg(target, 5, 1) }, Ok(9));
    }
}

#[test]
fn the_best_variant_is_chosen() {
    let best = Routines::select(copy::Features::detect());
    assert_eq!(best.name(), runnable().last().unwrap().name());
    let plainest = Routines::select(copy::Features::default());
    assert_eq!(plainest.name(), Routines::all()[0].name());
}
