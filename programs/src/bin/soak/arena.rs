//! Pages whose loss is survived: SIGBUS puts a new one, all zeros, in the place of one that is lost,
//! and notes it.
#![expect(unsafe_code, reason = "mappings, and accesses that a signal may end")]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use programs::page::SIZE;

/// Pages of the arena.
pub(crate) const PAGES: usize = 64;
/// Bytes that fail together.
pub(crate) const LINE: usize = 64;
const WORDS: usize = SIZE / size_of::<u64>();

static BASE: AtomicUsize = AtomicUsize::new(0);
static LOST: [AtomicBool; PAGES] = [const { AtomicBool::new(false) }; PAGES];

/// The pages. There is one arena in a process.
pub(crate) struct Arena {
    base: *mut u8,
    pagemap: File,
}

/// What a page is filled with: `fill`, or zeros if it is 0.
fn word(fill: u64, index: usize) -> u64 {
    match fill {
        0 => 0,
        _ => (fill ^ (index as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

// SAFETY: its memory is accessed by volatile loads and stores of the owner, and by loads alone while
// threads share it.
unsafe impl Sync for Arena {}

impl Arena {
    /// All zeros.
    ///
    /// # Errors
    ///
    /// If there is no memory, or no handler for SIGBUS.
    pub(crate) fn new() -> Result<Self> {
        let base = map(ptr::null_mut(), PAGES, 0, None)?;
        BASE.store(base.expose_provenance(), Ordering::SeqCst);
        // SAFETY: all bits zero is a valid `sigaction`: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is valid; the handler makes only system calls and uses only atomics.
        let result = unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
        ensure!(result == 0, "cannot handle SIGBUS");
        let pagemap = File::open("/proc/self/pagemap").context("cannot open /proc/self/pagemap")?;
        Ok(Self { base, pagemap })
    }

    /// Its frames are found as those of this process, after a fork.
    pub(crate) fn of_child(&mut self) -> Result<()> {
        self.pagemap =
            File::open("/proc/self/pagemap").context("cannot open /proc/self/pagemap")?;
        Ok(())
    }

    /// Where a page is.
    pub(crate) fn at(&self, page: usize) -> *mut u8 {
        assert!(page < PAGES);
        self.base.wrapping_add(page * SIZE)
    }

    /// Fills a page.
    pub(crate) fn fill(&self, page: usize, fill: u64) {
        let words = self.at(page).cast::<u64>();
        for index in 0..WORDS {
            // SAFETY: in the page, which is mapped; the handler sees to it.
            unsafe { words.wrapping_add(index).write_volatile(word(fill, index)) };
        }
    }

    /// The first word of the page's first `bytes` that is not as [`fill`](Self::fill) left it, by its
    /// first byte.
    pub(crate) fn find_difference(&self, page: usize, fill: u64, bytes: usize) -> Option<usize> {
        let words = self.at(page).cast::<u64>();
        let differs = |index: &usize| {
            // SAFETY: in the page, which is mapped; the handler sees to it.
            let found = unsafe { words.wrapping_add(*index).read_volatile() };
            found != word(fill, *index)
        };
        let index = (0..bytes / size_of::<u64>()).find(differs)?;
        Some(index * size_of::<u64>())
    }

    /// Whether the page was lost since this was last asked.
    pub(crate) fn was_lost(&self, page: usize) -> bool {
        LOST[page].swap(false, Ordering::SeqCst)
    }

    /// Loads some of each line, so that the page is there and whatever is bad in it is met.
    pub(crate) fn load_all(&self, page: usize) {
        for line in (0..SIZE).step_by(LINE) {
            // SAFETY: in the page, which is mapped; the handler sees to it.
            unsafe { self.at(page).wrapping_add(line).read_volatile() };
        }
    }

    /// Puts a page of a file in the place of one of these.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn show(&self, page: usize, file: &File, index: u64) -> Result<()> {
        map(self.at(page), 1, index, Some(file)).map(drop)
    }

    /// Puts a new page there again.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn hide(&self, page: usize) -> Result<()> {
        map(self.at(page), 1, 0, None).map(drop)
    }

    /// The physical address of a page, if it is in memory.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn physical(&self, page: usize) -> Result<Option<u64>> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let mut entry = [0; 8];
        let position = self.at(page).addr() / SIZE * size_of::<u64>();
        self.pagemap
            .read_exact_at(&mut entry, position as u64)
            .context("cannot read /proc/self/pagemap")?;
        let entry = u64::from_ne_bytes(entry);
        Ok((entry & PRESENT != 0).then_some((entry & FRAME) * SIZE as u64))
    }
}

/// Maps pages of a file, shared, or new ones; at a place in the arena, or for one.
fn map(place: *mut u8, pages: usize, index: u64, file: Option<&File>) -> Result<*mut u8> {
    let fixed = if place.is_null() { 0 } else { libc::MAP_FIXED };
    let (kind, descriptor) = match file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping, or one in the place of pages of the arena's, of which Rust has no
    // references.
    let address = unsafe {
        libc::mmap(
            place.cast(),
            pages * SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            kind | fixed,
            descriptor,
            (index as usize * SIZE) as libc::off_t,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot map memory");
    }
    Ok(address.cast())
}

extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's.
    let info = unsafe { &*info };
    // SAFETY: it is of a SIGBUS, which has one.
    let address = unsafe { info.si_addr() }.addr();
    let base = BASE.load(Ordering::SeqCst);
    let page = address.wrapping_sub(base) / SIZE;
    let place = ptr::with_exposed_provenance_mut(base + page * SIZE);
    if page >= PAGES || map(place, 1, 0, None).is_err() {
        // SAFETY: ends the process. There is no page of ours to replace.
        unsafe { libc::_exit(99) };
    }
    LOST[page].store(true, Ordering::SeqCst);
}
