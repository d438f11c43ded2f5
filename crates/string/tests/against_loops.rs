//! Each function against a loop over bytes: every length to 200 and some beyond, every alignment of
//! both sides, and nothing outside of what was asked for.

#![cfg(all(target_arch = "aarch64", not(miri)))]
#![expect(unsafe_code, reason = "the functions are")]

use std::cmp::Ordering;

const ROOM: usize = 4096 + 256;

fn lengths() -> impl Iterator<Item = usize> {
    (0..=200).chain([255, 256, 257, 511, 1000, 1024, 4095, 4096])
}

/// Bytes that differ from their neighbours, and from those 16 or 64 away.
fn pattern(seed: usize) -> Vec<u8> {
    let byte = |index: usize| (index.wrapping_mul(0x9e37_79b9) >> 11) as u8;
    (0..ROOM).map(|index| byte(index + seed)).collect()
}

#[test]
fn copies() {
    for length in lengths() {
        for (to, from) in (0..16).flat_map(|to| (0..16).map(move |from| (32 + to, 64 + from))) {
            let source = pattern(1);
            let mut destination = pattern(7);
            let mut expected = destination.clone();
            expected[to..to + length].copy_from_slice(&source[from..from + length]);
            let start = destination[to..].as_mut_ptr();
            // SAFETY: both have `ROOM` bytes, more than any sum of the above.
            let end = unsafe { string::memcpy(start, source[from..].as_ptr(), length) };
            assert_eq!(end, start);
            assert!(destination == expected, "{length} from {from} to {to}");
        }
    }
}

#[test]
fn moves() {
    for length in lengths().filter(|length| *length <= 1024) {
        let distances = (0..=80).chain([100, 127, 128, 129, 300]);
        for (distance, upwards) in distances.flat_map(|by| [(by, true), (by, false)]) {
            for alignment in [0, 3, 8] {
                let low = 64 + alignment;
                let (from, to) = match upwards {
                    true => (low, low + distance),
                    false => (low + distance, low),
                };
                let mut memory = pattern(3);
                let mut expected = memory.clone();
                expected.copy_within(from..from + length, to);
                let start = memory.as_mut_ptr();
                let (to_start, from_start) = (start.wrapping_add(to), start.wrapping_add(from));
                // SAFETY: as above, and both are in the same buffer.
                let end = unsafe { string::memmove(to_start, from_start, length) };
                assert_eq!(end, to_start);
                assert!(memory == expected, "{length} from {from} to {to}");
            }
        }
    }
}

#[test]
fn fills() {
    for length in lengths() {
        for to in 32..48 {
            for value in [0, 0xa5, -1, 0x1234] {
                let mut memory = pattern(5);
                let mut expected = memory.clone();
                expected[to..to + length].fill(value as u8);
                let start = memory[to..].as_mut_ptr();
                // SAFETY: as above.
                let end = unsafe { string::memset(start, value, length) };
                assert_eq!(end, start);
                assert!(memory == expected, "{length} at {to}");
            }
        }
    }
}

#[test]
fn comparisons() {
    for length in lengths().filter(|length| *length <= 257) {
        for (left_at, right_at) in [(0, 0), (1, 0), (0, 7), (5, 11)] {
            let mut left = pattern(9);
            let mut right = pattern(9);
            let same = left[left_at..left_at + length].to_vec();
            right[right_at..right_at + length].copy_from_slice(&same);
            // Beyond the end they differ.
            left[left_at + length] = 0;
            right[right_at + length] = 1;
            let order = |left: &[u8], right: &[u8]| {
                let (left, right) = (left[left_at..].as_ptr(), right[right_at..].as_ptr());
                // SAFETY: as above.
                unsafe { string::memcmp(left, right, length) }
            };
            assert_eq!(order(&left, &right), 0, "{length}");
            for place in 0..length {
                for change in [1, 0x80, 0xff] {
                    let before = right[right_at + place];
                    right[right_at + place] = before.wrapping_add(change);
                    // What differs behind the first difference does not matter.
                    let last = right_at + length - 1;
                    let end = right[last];
                    if last > right_at + place {
                        right[last] = end.wrapping_add(0x7f);
                    }
                    let expected = before.cmp(&right[right_at + place]);
                    let order = order(&left, &right);
                    assert_eq!(order.cmp(&0), expected, "{length} at {place}");
                    assert_ne!(expected, Ordering::Equal);
                    right[last] = end;
                    right[right_at + place] = before;
                }
            }
        }
    }
}
