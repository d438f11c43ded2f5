//! Which lines and bytes an access is to.

use proptest::prelude::*;

use core::ops::Range;

use control::{LINE, PAGE};
use monitor::access::{Piece, lines_of, pieces, within_page};

#[test]
fn an_access_touches_the_lines_of_its_bytes() {
    assert_eq!(lines_of(0x1000, 0), 0);
    assert_eq!(lines_of(0x1000, 1), 1);
    assert_eq!(lines_of(0x103f, 1), 1);
    assert_eq!(lines_of(0x103f, 2), 0b11);
    assert_eq!(lines_of(0x1ff8, 16), 1 << 63);
    assert_eq!(lines_of(0x1000, u64::MAX), u64::MAX);
    assert_eq!(lines_of(u64::MAX, u64::MAX), 1 << 63);
}

#[test]
fn the_end_of_the_address_space_is_not_passed() {
    let all: Vec<_> = pieces(u64::MAX - 3..u64::MAX).collect();
    let line = u64::MAX - 63;
    assert_eq!(
        all,
        [Piece {
            line,
            bytes: 0b111 << 60
        }]
    );
    assert_eq!(
        within_page(&(5..u64::MAX), u64::MAX),
        u64::MAX - 4095..u64::MAX
    );
    assert!(pieces(7..7).next().is_none());
    assert!(pieces(Range { start: 9, end: 7 }).next().is_none());
}

proptest! {
    #[test]
    fn pieces_are_the_bytes_of_the_range(start in 0u64..9000, length in 0u64..9000) {
        let range = start..start + length;
        let bytes: Vec<u64> = pieces(range.clone())
            .flat_map(|piece| {
                assert_eq!(piece.line % LINE, 0);
                (0..LINE).filter(move |byte| piece.bytes >> byte & 1 != 0)
                    .map(move |byte| piece.line + byte)
            })
            .collect();
        prop_assert_eq!(bytes, range.collect::<Vec<_>>());
    }

    #[test]
    fn lines_are_those_of_the_bytes_in_the_page(address in 0u64..3 * PAGE, bytes in 0u64..5000) {
        let page = address & !(PAGE - 1);
        let expected = within_page(&(address..address + bytes), page)
            .fold(0, |lines, byte| lines | 1u64 << (byte % PAGE / LINE));
        prop_assert_eq!(lines_of(address, bytes), expected);
    }
}
