//! Which lines, and which of their bytes, an access is to.

use core::ops::Range;

use control::{LINE, PAGE};

/// A line, or what an access has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The address of the line's first byte.
    pub line: u64,
    /// Which of its bytes: bit `n` is byte `n`.
    pub bytes: u64,
}

/// The lines that an access of `bytes` bytes at `address` touches, of the page that `address` is in:
/// bit `n` is the line at `64 * n`. What lies in the next page is left out.
///
/// With the address and size that an abort reports (FAR, and SAS where ISV is set), this tells
/// whether a load that went through should have.
#[must_use]
pub fn lines_of(address: u64, bytes: u64) -> u64 {
    let Some(rest) = bytes.checked_sub(1) else {
        return 0;
    };
    let first = address % PAGE;
    let last = first.saturating_add(rest).min(PAGE - 1);
    bits(first / LINE, last / LINE)
}

/// The addresses of `range`, line by line. The range of a memory set can be that of all memory, so
/// look only at those that matter.
pub fn pieces(range: Range<u64>) -> impl Iterator<Item = Piece> {
    let mut start = range.start;
    core::iter::from_fn(move || {
        let last = range.end.checked_sub(1).filter(|last| start <= *last)?;
        let line = start & !(LINE - 1);
        let piece = Piece {
            line,
            bytes: bits(start - line, (last - line).min(LINE - 1)),
        };
        // Past the last line of the address space there is nothing.
        start = line.checked_add(LINE).unwrap_or(range.end);
        Some(piece)
    })
}

/// The part of `range` that is in the page that `page` is in.
#[must_use]
pub fn within_page(range: &Range<u64>, page: u64) -> Range<u64> {
    let first = page & !(PAGE - 1);
    let start = range.start.max(first);
    // The end of the last page of the address space is no address; a range does not reach it.
    let end = first
        .checked_add(PAGE)
        .map_or(range.end, |end| range.end.min(end));
    start..end.max(start)
}

/// A mask with bits `first` to `last`, 63 at most, set.
const fn bits(first: u64, last: u64) -> u64 {
    (u64::MAX >> (63 - (last - first))) << first
}
