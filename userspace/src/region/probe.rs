//! Finding memory that cannot be read, without reading it.
//!
//! `MADV_POPULATE_READ` (Linux 5.14) maps pages as a read would, but answers with an error number
//! where a read would be a signal. A touch of a bad page costs a signal, and on x86 a line in the
//! kernel's log, each time.

use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use crate::error::Kind;
use crate::memory::Memory;
use crate::page;

/// Pages asked about in one `mincore`.
const WINDOW: usize = 1024;

/// Why pages could not be populated.
enum Refusal {
    /// A read would fail for this reason.
    Bad(Kind),
    /// The kernel does not do this here.
    Unsupported,
}

/// Calls `found` for every page of `pages` that cannot be read, in order. Brings pages in.
pub(super) fn pages(
    memory: Memory,
    pages: Range<usize>,
    found: &mut impl FnMut(Range<usize>, Kind),
) {
    if pages.is_empty() {
        return;
    }
    let refusal = if is_supported() {
        populate(&pages)
    } else {
        Err(Refusal::Unsupported)
    };
    match refusal {
        Ok(()) => {}
        Err(Refusal::Bad(kind)) if pages.len() <= page::size() => found(pages, kind),
        Err(Refusal::Bad(_)) => {
            let half = pages.len() / page::size() / 2 * page::size();
            let middle = pages.start + half;
            self::pages(memory, pages.start..middle, found);
            self::pages(memory, middle..pages.end, found);
        }
        Err(Refusal::Unsupported) => {
            for start in pages.step_by(page::size()) {
                touch(memory, start, found);
            }
        }
    }
}

fn touch(memory: Memory, start: usize, found: &mut impl FnMut(Range<usize>, Kind)) {
    let byte = ptr::with_exposed_provenance::<u8>(start);
    // SAFETY: a page of a region, which is mapped for reads; one byte is never misaligned.
    if let Err(error) = unsafe { memory.load(byte) } {
        found(start..start + page::size(), error.kind);
    }
}

/// As [`pages`], but only of what is in memory already; nothing if the kernel cannot tell.
pub(super) fn resident_pages(
    memory: Memory,
    pages: Range<usize>,
    found: &mut impl FnMut(Range<usize>, Kind),
) {
    if !is_supported() {
        return;
    }
    let page = page::size();
    for window in pages.clone().step_by(WINDOW * page) {
        let window = window..pages.end.min(window + WINDOW * page);
        let mut resident = [0_u8; WINDOW];
        let start = ptr::without_provenance_mut(window.start);
        // SAFETY: the answer has a byte for every page of the window; no memory is accessed.
        if unsafe { libc::mincore(start, window.len(), resident.as_mut_ptr()) } != 0 {
            continue;
        }
        let resident = &resident[..window.len() / page];
        let mut first = 0;
        for run in resident.chunk_by(|a, b| a & 1 == b & 1) {
            let start = window.start + first * page;
            first += run.len();
            if run[0] & 1 != 0 {
                self::pages(memory, start..start + run.len() * page, found);
            }
        }
    }
}

fn populate(pages: &Range<usize>) -> Result<(), Refusal> {
    loop {
        let start = ptr::without_provenance_mut(pages.start);
        // SAFETY: populating changes no content; whatever is mapped there stays.
        if unsafe { libc::madvise(start, pages.len(), libc::MADV_POPULATE_READ) } == 0 {
            return Ok(());
        }
        return Err(match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => continue,
            Some(libc::EHWPOISON) => Refusal::Bad(Kind::Poisoned),
            Some(libc::EFAULT) => Refusal::Bad(Kind::TruncatedOrIo),
            _ => Refusal::Unsupported,
        });
    }
}

/// Whether populating says yes to a good page and no to a bad one. An old kernel says no to both,
/// and emulators that ignore advice say yes to both.
pub(crate) fn is_supported() -> bool {
    static SUPPORTED: OnceLock<bool> = OnceLock::new();
    *SUPPORTED.get_or_init(|| answers(libc::PROT_READ) && !answers(libc::PROT_NONE))
}

/// What populating says to a fresh page with this protection.
fn answers(protection: i32) -> bool {
    let length = page::size();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping wherever the kernel likes touches nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return false;
    }
    let answer = populate(&(start.addr()..start.addr() + length)).is_ok();
    // SAFETY: the page just mapped, which nobody else knows of.
    unsafe { libc::munmap(start, length) };
    answer
}
