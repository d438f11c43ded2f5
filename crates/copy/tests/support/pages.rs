//! A few consecutive pages, each of which can be made to fail and to work again.

use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use super::PAGE;

/// What an access to a page meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Memory.
    Good,
    /// SIGBUS: a memory error.
    Failing,
    /// SIGSEGV: a fault.
    Forbidden,
    /// The same for stores only.
    ReadOnly,
}

/// Consecutive pages of shared memory. What was written to a page is still there when it has
/// failed and works again.
pub struct Pages {
    base: *mut u8,
    count: usize,
    file: i32,
    states: Vec<State>,
}

impl Pages {
    /// `count` good pages of zeros.
    pub fn new(count: usize) -> Self {
        let file = memory_file(count * PAGE);
        let base = map(ptr::null_mut(), count, libc::PROT_NONE, 0, file, 0);
        let mut pages = Self {
            base,
            count,
            file,
            states: vec![State::Failing; count],
        };
        (0..count).for_each(|page| pages.set(page, State::Good));
        pages
    }

    /// Address of a byte, counted from the first page.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.count * PAGE);
        self.base.wrapping_add(offset)
    }

    pub fn set(&mut self, page: usize, state: State) {
        if self.states[page] == state {
            return;
        }
        self.states[page] = state;
        let place = self.at(page * PAGE);
        let offset = (page * PAGE) as i64;
        let all = libc::PROT_READ | libc::PROT_WRITE;
        match state {
            State::Good => drop(map(place, 1, all, libc::MAP_FIXED, self.file, offset)),
            State::Failing => spoil(place.addr(), 1),
            State::Forbidden => {
                map(
                    place,
                    1,
                    libc::PROT_NONE,
                    libc::MAP_FIXED,
                    self.file,
                    offset,
                );
            }
            State::ReadOnly => {
                map(
                    place,
                    1,
                    libc::PROT_READ,
                    libc::MAP_FIXED,
                    self.file,
                    offset,
                );
            }
        }
    }

    /// All pages, whatever the handler did to them meanwhile, are good again.
    pub fn restore(&mut self) {
        self.states.fill(State::Failing);
        (0..self.count).for_each(|page| self.set(page, State::Good));
    }

    /// Fills all good pages by offset.
    pub fn fill(&mut self, value: impl Fn(usize) -> u8) {
        for offset in 0..self.count * PAGE {
            if self.states[offset / PAGE] == State::Good {
                // SAFETY: the byte lies in a good page that only this object uses.
                unsafe { self.at(offset).write(value(offset)) };
            }
        }
    }

    /// The parts of a range that lie in good pages, page by page.
    pub fn accessible(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let part = |page: usize| {
            let begin = range.start.max(page * PAGE);
            begin..range.end.min((page + 1) * PAGE)
        };
        (range.start / PAGE..range.end.div_ceil(PAGE).min(self.count))
            .filter(|&page| self.states[page] == State::Good)
            .map(part)
            .collect()
    }

    /// The bytes of a range of good pages.
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let pages = offset / PAGE..(offset + length).div_ceil(PAGE);
        let good = self.states[pages].iter().all(|&state| state == State::Good);
        assert!(good, "{length} bytes at {offset} of {:?}", self.states);
        // SAFETY: the range is mapped, and written only through `&mut self` or a raw pointer
        // whose user is done.
        unsafe { std::slice::from_raw_parts(self.at(offset), length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping and the file are this object's.
        unsafe { libc::munmap(self.base.cast(), self.count * PAGE) };
        // SAFETY: as above.
        unsafe { libc::close(self.file) };
    }
}

/// Makes pages fail from now on; also called by the signal handler.
pub fn spoil(address: usize, pages: usize) {
    let place = ptr::with_exposed_provenance_mut(address);
    let all = libc::PROT_READ | libc::PROT_WRITE;
    // The empty file ends before every page of the mapping.
    map(place, pages, all, libc::MAP_FIXED, empty_file(), 0);
}

fn empty_file() -> i32 {
    static EMPTY: OnceLock<i32> = OnceLock::new();
    *EMPTY.get_or_init(|| memory_file(0))
}

fn memory_file(length: usize) -> i32 {
    // SAFETY: the name is a C string.
    let file = unsafe { libc::memfd_create(c"pages".as_ptr(), 0) };
    assert!(file >= 0);
    // SAFETY: `file` is a file of ours.
    assert_eq!(unsafe { libc::ftruncate(file, length as i64) }, 0);
    file
}

fn map(place: *mut u8, pages: usize, access: i32, flags: i32, file: i32, offset: i64) -> *mut u8 {
    let flags = libc::MAP_SHARED | flags;
    // SAFETY: with MAP_FIXED the place is inside a mapping of `Pages`; else it is fresh.
    let base = unsafe { libc::mmap(place.cast(), pages * PAGE, access, flags, file, offset) };
    assert_ne!(base, libc::MAP_FAILED);
    let _ = base.expose_provenance();
    base.cast()
}
