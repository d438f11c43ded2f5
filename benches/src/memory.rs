//! Mapped memory to work on.

use std::io;
use std::os::fd::FromRawFd;
use std::ptr::{self, NonNull};

use anyhow::{Context, Result};
use copy::PAGE_SIZE;

/// A mapping of its own, unmapped when dropped. Only raw pointers into it are handed out, for it
/// may be inaccessible, and assembly works on it.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Zeroed private memory.
    pub(crate) fn anonymous(length: usize) -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        Self::new(length, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Pages that may not be accessed: SIGSEGV.
    pub(crate) fn inaccessible(length: usize) -> Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::new(length, libc::PROT_NONE, flags, -1)
    }

    /// Two pages of a file in memory that ends after the first: the second page raises SIGBUS.
    ///
    /// The first has been read. So the page table exists, and a failing access does not pay for
    /// one that the kernel makes and frees again.
    pub(crate) fn truncated() -> Result<Self> {
        // SAFETY: the name is a string that ends with 0.
        let descriptor = unsafe { libc::memfd_create(c"truncated".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error()).context("memfd_create");
        }
        // SAFETY: a descriptor that was just made has no other owner. The mapping outlives it.
        let file = unsafe { std::fs::File::from_raw_fd(descriptor) };
        file.set_len(PAGE_SIZE as u64)?;
        let mapping = Self::new(2 * PAGE_SIZE, libc::PROT_READ, libc::MAP_SHARED, descriptor)?;
        // SAFETY: the first page is in the file.
        unsafe { mapping.start().read_volatile() };
        Ok(mapping)
    }

    fn new(length: usize, access: i32, flags: i32, descriptor: i32) -> Result<Self> {
        // SAFETY: the kernel chooses an unused range, so no existing memory changes.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("mmap of {length} bytes"));
        }
        let start = NonNull::new(start.cast()).context("mmap returned address 0")?;
        Ok(Self { start, length })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's, and whoever drops it no longer uses its pointers.
        unsafe { libc::munmap(self.start().cast(), self.length) };
    }
}

/// The operands of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) destination: *mut u8,
    pub(crate) source: *const u8,
    pub(crate) length: usize,
}

/// Bytes on either side of the destination that must not change.
const MARGIN: usize = 64;
const MARK: u8 = 0xee;
/// What fills are asked to write.
pub(crate) const FILL: u8 = 0x5a;

/// Two ranges, a source and a destination, for places up to a largest length.
pub(crate) struct Arena {
    source: Mapping,
    destination: Mapping,
}

impl Arena {
    pub(crate) fn new(largest: usize) -> Result<Self> {
        let length = largest + 3 * PAGE_SIZE;
        let arena = Self {
            source: Mapping::anonymous(length)?,
            destination: Mapping::anonymous(length)?,
        };
        // SAFETY: the mapping is this long, zeroed, and nobody else knows it yet.
        let bytes = unsafe { std::slice::from_raw_parts_mut(arena.source.start(), length) };
        for (index, byte) in bytes.iter_mut().enumerate() {
            // No two places nearby look alike, so a shifted copy is noticed.
            *byte = (index.wrapping_mul(0x9e37_79b1) >> 16) as u8;
        }
        Ok(arena)
    }

    /// Where `round` takes place.
    ///
    /// Unless whole pages are asked for, the places within the page differ from round to round,
    /// so that the median is that of many: how fast a short copy is depends on whether its
    /// addresses collide, modulo 4 KiB, with each other and with the stack.
    pub(crate) fn place(&self, length: usize, alignment: Alignment, round: usize) -> Place {
        // Odd factors visit every line; so does the difference of both.
        let to = round * 29 % 64 * 64;
        let from = (round * 42 + round / 64) % 64 * 64;
        let (to, from) = match alignment {
            Alignment::Page => (0, 0),
            Alignment::Line => (to, from),
            Alignment::None => (to + 3, from + 5),
        };
        // The page in front holds the margin.
        Place {
            destination: self.destination.start().wrapping_add(PAGE_SIZE + to),
            source: self.source.start().wrapping_add(PAGE_SIZE + from),
            length,
        }
    }
}

/// To what both operands of a call are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alignment {
    Page,
    /// 64 bytes.
    Line,
    /// Nothing: each is some bytes off, by another number.
    None,
}

impl Alignment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Page | Self::Line => "aligned",
            Self::None => "misaligned",
        }
    }
}

/// What a contestant does to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Source to destination.
    Copy,
    /// [`FILL`] to the destination.
    Fill,
    /// Are they equal?
    Compare,
    /// Is the destination all zero?
    ZeroTest,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Copy, Self::Fill, Self::Compare, Self::ZeroTest];

    /// Whether `call` does this operation right. Leaves the place prepared.
    pub(crate) fn is_done_by(self, call: impl Fn(Place) -> bool, place: Place) -> bool {
        self.prepare(place);
        match self {
            Self::Copy => writes(call, place, |bytes, source| bytes == source),
            Self::Fill => writes(call, place, |bytes, _| bytes.iter().all(|&b| b == FILL)),
            Self::Compare | Self::ZeroTest => notices_the_last_byte(call, place),
        }
    }

    /// Makes searches go through to the end.
    pub(crate) fn prepare(self, place: Place) {
        let Place {
            destination,
            source,
            length,
        } = place;
        match self {
            Self::Copy | Self::Fill => {}
            // SAFETY: both ranges are mapped and lie in different mappings.
            Self::Compare => unsafe { source.copy_to_nonoverlapping(destination, length) },
            // SAFETY: the range is mapped.
            Self::ZeroTest => unsafe { destination.write_bytes(0, length) },
        }
    }
}

fn writes(
    call: impl Fn(Place) -> bool,
    place: Place,
    right: impl Fn(&[u8], &[u8]) -> bool,
) -> bool {
    let Place { length, .. } = place;
    let around = place.destination.wrapping_sub(MARGIN);
    // SAFETY: an arena has at least a page on either side of a place.
    unsafe { around.write_bytes(MARK, length + 2 * MARGIN) };
    if !call(place) {
        return false;
    }
    // SAFETY: as above, and nothing writes to it now.
    let written = unsafe { std::slice::from_raw_parts(around, length + 2 * MARGIN) };
    // SAFETY: mapped, and nothing ever writes to it.
    let source = unsafe { std::slice::from_raw_parts(place.source, length) };
    let (before, rest) = written.split_at(MARGIN);
    let (bytes, after) = rest.split_at(length);
    right(bytes, source) && before.iter().chain(after).all(|&byte| byte == MARK)
}

/// Whether a search says yes, and no when the last byte is another.
fn notices_the_last_byte(call: impl Fn(Place) -> bool, place: Place) -> bool {
    let last = place.destination.wrapping_add(place.length - 1);
    let flip = || {
        // SAFETY: the last byte of a mapped range.
        let byte = unsafe { last.read_volatile() };
        // SAFETY: as above.
        unsafe { last.write_volatile(!byte) };
    };
    let yes = call(place);
    flip();
    let no = call(place);
    flip();
    yes && !no
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_results_are_noticed() {
        let arena = Arena::new(4096).unwrap();
        let cases = [
            (Alignment::Line, 1),
            (Alignment::None, 100),
            (Alignment::Page, 4096),
        ];
        for (round, (alignment, length)) in cases.into_iter().enumerate() {
            let place = arena.place(length, alignment, round);
            let copy = |from: usize, to: usize, length: usize| {
                move |place: Place| {
                    let source = place.source.wrapping_add(from);
                    // SAFETY: at most one byte more than the place, which its arena has.
                    unsafe { source.copy_to(place.destination.wrapping_add(to), length) };
                    true
                }
            };
            let does = |from, to, length| Operation::Copy.is_done_by(copy(from, to, length), place);
            assert!(does(0, 0, length));
            assert!(!does(0, 0, length - 1), "one byte short");
            assert!(!does(0, 0, length + 1), "one byte long");
            assert!(!does(1, 0, length), "from another place");
            assert!(!does(0, 1, length), "to another place");
            for operation in [Operation::Compare, Operation::ZeroTest] {
                assert!(!operation.is_done_by(|_| true, place));
                assert!(!operation.is_done_by(|_| false, place));
            }
            assert!(!Operation::Fill.is_done_by(copy(0, 0, length), place));
        }
    }
}
