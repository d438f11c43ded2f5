//! A page of memory whose physical address is known.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;

use anyhow::{Context, Result, ensure};

/// Bytes of a page. Other sizes than 4 KiB are refused: see [`Page::new`].
pub const SIZE: usize = 4096;

/// What a page is filled with.
pub const FILL: u8 = 0xa5;

/// What the spare is filled with.
pub const SPARE_FILL: u8 = 0x5a;

/// What may be done with a page, apart from reading and writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    Data,
    /// It can be called.
    Code,
}

/// An anonymous, private page of this process, filled and resident, and a second one like it that
/// can take its place. Both stay mapped until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    address: *mut u8,
    spare: *mut u8,
}

impl Page {
    /// Maps and fills both pages.
    ///
    /// # Errors
    ///
    /// If the system has pages of another size, or no memory.
    pub fn new(usage: Use) -> Result<Self> {
        // SAFETY: `sysconf` only reads its argument.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        ensure!(
            usize::try_from(size) == Ok(SIZE),
            "this system has pages of {size} bytes; the tests know those of {SIZE} only"
        );
        Ok(Self {
            address: map(usage, FILL)?,
            spare: map(usage, SPARE_FILL)?,
        })
    }

    /// The page of other memory at `address`, with a spare.
    ///
    /// # Errors
    ///
    /// If there is no memory for the spare.
    pub fn over(address: *mut u8, usage: Use) -> Result<Self> {
        Ok(Self {
            address,
            spare: map(usage, SPARE_FILL)?,
        })
    }

    /// Where the page starts.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// Where the spare starts, until it has taken the page's place.
    #[must_use]
    pub fn spare(&self) -> *mut u8 {
        self.spare
    }

    /// Stores `code` at `offset` of both pages, and makes it visible to instruction fetches.
    ///
    /// # Panics
    ///
    /// If the code does not fit.
    pub fn put_code(&self, offset: usize, code: &[u8]) {
        assert!(offset + code.len() <= SIZE);
        for page in [self.address, self.spare] {
            // SAFETY: `offset` is in the page.
            let target = unsafe { page.add(offset) };
            // SAFETY: the target is mapped writable and has room; `code` is elsewhere.
            unsafe { ptr::copy_nonoverlapping(code.as_ptr(), target, code.len()) };
            synchronise_instructions(target);
        }
    }

    /// The physical address of the page, from `/proc/self/pagemap`.
    ///
    /// # Errors
    ///
    /// If this process may not know it (it needs `CAP_SYS_ADMIN`), or the page has gone.
    pub fn physical(&self) -> Result<u64> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let index = self.address.addr() / SIZE;
        let mut entry = [0; 8];
        File::open("/proc/self/pagemap")
            .and_then(|file| file.read_exact_at(&mut entry, (index * size_of::<u64>()) as u64))
            .context("cannot read /proc/self/pagemap")?;
        let entry = u64::from_ne_bytes(entry);
        ensure!(entry & PRESENT != 0, "the page is not in memory");
        ensure!(
            entry & FRAME != 0,
            "the kernel hides physical addresses; run this as root"
        );
        Ok((entry & FRAME) * SIZE as u64)
    }
}

/// Maps one page and fills it.
fn map(usage: Use, fill: u8) -> Result<*mut u8> {
    let executable = match usage {
        Use::Data => 0,
        Use::Code => libc::PROT_EXEC,
    };
    // SAFETY: a new mapping, wherever there is room: nothing else is touched.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE | executable,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot map a page");
    }
    // SAFETY: mapped writable, `SIZE` bytes long, and nothing refers to it.
    unsafe { ptr::write_bytes(address.cast::<u8>(), fill, SIZE) };
    Ok(address.cast())
}

/// Makes code that was stored to one line visible to instruction fetches.
#[cfg(target_arch = "aarch64")]
fn synchronise_instructions(line: *mut u8) {
    // SAFETY: cache maintenance of memory that this process has mapped (Arm ARM B2.4.4).
    unsafe {
        std::arch::asm!(
            "dc cvau, {line}",
            "dsb ish",
            "ic ivau, {line}",
            "dsb ish",
            "isb",
            line = in(reg) line,
            options(nostack, preserves_flags),
        );
    }
}

/// Other processors that these programs run on keep their caches coherent.
#[cfg(not(target_arch = "aarch64"))]
fn synchronise_instructions(_: *mut u8) {}
