//! Memory mappings for tests.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

/// Bytes in a page.
pub(crate) fn page() -> usize {
    // SAFETY: takes any number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// A file in memory with this length.
pub(crate) fn memory_file(length: usize) -> File {
    // SAFETY: a valid name.
    let descriptor = unsafe { libc::memfd_create(c"seaworthy".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else has it.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(length as u64).unwrap();
    file
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8 + 1).collect()
}

/// A mapping, unmapped when dropped.
pub(crate) struct Pages {
    start: *mut u8,
    length: usize,
}

impl Pages {
    /// Private anonymous pages.
    pub(crate) fn anonymous(count: usize) -> Self {
        Self::map(count, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Pages of a file, shared; writable.
    pub(crate) fn of(file: &File, count: usize) -> Self {
        Self::map(count, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// Readable up to the last `bad` pages, which are behind the end of a file. Holds the pattern.
    pub(crate) fn truncated(good: usize, bad: usize) -> Self {
        let file = memory_file((good + bad) * page());
        let pages = Self::of(&file, good + bad);
        pages.write(&pattern(good * page()));
        file.set_len((good * page()) as u64).unwrap();
        pages
    }

    fn map(count: usize, flags: i32, descriptor: i32) -> Self {
        let length = count * page();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping wherever the kernel likes touches nothing that exists.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, descriptor, 0) };
        assert_ne!(
            start,
            libc::MAP_FAILED,
            "{}",
            std::io::Error::last_os_error()
        );
        Self {
            start: start.cast(),
            length,
        }
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.length);
        self.start.wrapping_add(offset)
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Plain stores: the pages must be good.
    pub(crate) fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.length);
        // SAFETY: mapped for at least as many bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, bytes.len()) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our mapping, which nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

// SAFETY: only an address.
unsafe impl Send for Pages {}
// SAFETY: as above; accesses are made by copies that expect any content.
unsafe impl Sync for Pages {}
