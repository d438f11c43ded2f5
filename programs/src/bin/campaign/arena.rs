//! Three pages whose every byte is known, the middle one of which fails.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use programs::page::{Page, SIZE, Use};

/// Pages of an arena.
const PAGES: usize = 3;

/// Bytes of an arena.
const LENGTH: usize = PAGES * SIZE;

/// How long the kernel may take to say that it has given a page up.
const PATIENCE: Duration = Duration::from_millis(500);

/// Three pages in the memory of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arena {
    base: *mut u8,
    usage: Use,
    seed: u64,
}

/// How memory is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    /// Anonymous, private.
    Private,
    /// The same, and may be executed.
    Code,
    /// Anonymous, shared with children.
    Shared,
    /// A file, shared.
    File(&'a File),
    /// A file, private: a store makes a copy.
    PrivateFile(&'a File),
}

/// The byte at an offset of what is filled with `seed`.
pub(crate) fn pattern(seed: u64, offset: usize) -> u8 {
    // SplitMix64: neighbouring inputs give unrelated outputs.
    let mut value = seed.wrapping_add((offset as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value ^ (value >> 31)).to_le_bytes()[offset % 8]
}

/// A range of an arena's content, as it must be.
pub(crate) fn content(seed: u64, start: usize, length: usize) -> Vec<u8> {
    (start..start + length)
        .map(|offset| pattern(seed, offset))
        .collect()
}

impl Arena {
    /// Maps and fills one.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub(crate) fn new(kind: Kind<'_>, seed: u64) -> Result<Self> {
        let arena = Self::map(kind, seed)?;
        let content = content(seed, 0, LENGTH);
        // SAFETY: just mapped, writable and of this length; nobody else knows of it.
        unsafe { ptr::copy_nonoverlapping(content.as_ptr(), arena.base, LENGTH) };
        Ok(arena)
    }

    /// Maps what is filled already.
    ///
    /// # Errors
    ///
    /// If there is no address space.
    pub(crate) fn map(kind: Kind<'_>, seed: u64) -> Result<Self> {
        let (flags, file) = match kind {
            Kind::Private | Kind::Code => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            Kind::Shared => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
            Kind::File(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            Kind::PrivateFile(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
        };
        let (usage, executable) = match kind {
            Kind::Code => (Use::Code, libc::PROT_EXEC),
            _ => (Use::Data, 0),
        };
        // SAFETY: a new mapping, wherever there is room.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                LENGTH,
                libc::PROT_READ | libc::PROT_WRITE | executable,
                flags,
                file,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("cannot map three pages");
        }
        Ok(Self {
            base: base.cast(),
            usage,
            seed,
        })
    }

    /// The page in the middle, with a spare.
    ///
    /// # Errors
    ///
    /// If there is no memory for the spare.
    pub(crate) fn target(&self) -> Result<Page> {
        Page::over(self.base.wrapping_add(SIZE), self.usage)
    }

    /// Whether both pages around the target hold what they must.
    pub(crate) fn neighbours_are_good(&self) -> bool {
        self.is_good(0, SIZE) && self.is_good(2 * SIZE, SIZE)
    }

    /// Whether a range holds what it must. Reads it.
    pub(crate) fn is_good(&self, start: usize, length: usize) -> bool {
        assert!(start + length <= LENGTH);
        (start..start + length).all(|offset| {
            // SAFETY: in the mapping, which stays until the process ends.
            let value = unsafe { ptr::read_volatile(self.base.wrapping_add(offset)) };
            value == pattern(self.seed, offset)
        })
    }

    /// Where byte `offset` is.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        self.base.wrapping_add(offset)
    }

    /// Ends the mapping.
    pub(crate) fn unmap(self) {
        // SAFETY: `map` made it; nothing refers to it, and it can only fail for other arguments.
        unsafe { libc::munmap(self.base.cast(), LENGTH) };
    }
}

/// A file of an arena's content in memory (tmpfs).
///
/// # Errors
///
/// If there is no memory.
pub(crate) fn memory_file(seed: u64) -> Result<File> {
    // SAFETY: the name is a string; a descriptor comes back.
    let descriptor = unsafe { libc::memfd_create(c"campaign".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error()).context("cannot make a file in memory");
    }
    // SAFETY: open, and nobody else's.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all_at(&content(seed, 0, LENGTH), 0)?;
    Ok(file)
}

/// The same on a disk: in the page cache, and clean.
///
/// # Errors
///
/// If it cannot be written there.
pub(crate) fn disk_file(folder: &Path, seed: u64) -> Result<File> {
    let path = folder.join("campaign");
    let what = || format!("cannot write {}", path.display());
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .with_context(what)?;
    file.write_all_at(&content(seed, 0, LENGTH), 0)
        .with_context(what)?;
    file.sync_all().with_context(what)?;
    Ok(file)
}

/// The physical address of the file's page in the middle.
///
/// # Errors
///
/// If the kernel hides it.
pub(crate) fn physical_of_file(file: &File, seed: u64) -> Result<u64> {
    let arena = Arena::map(Kind::File(file), seed)?;
    // Loads, so that the page stays as clean as it is.
    let is_good = arena.is_good(SIZE, SIZE);
    anyhow::ensure!(is_good, "the file is not what was written");
    let physical = arena.target()?.physical();
    arena.unmap();
    physical
}

/// Whether the kernel has given up the page with this physical address. It may take its time.
/// `None` if it does not say.
pub(crate) fn is_isolated(physical: u64) -> Option<bool> {
    /// KPF_HWPOISON.
    const GIVEN_UP: u64 = 1 << 19;
    let flags = File::open("/proc/kpageflags").ok()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut entry = [0; 8];
        flags
            .read_exact_at(&mut entry, physical / SIZE as u64 * 8)
            .ok()?;
        if u64::from_ne_bytes(entry) & GIVEN_UP != 0 {
            return Some(true);
        }
        if Instant::now() >= deadline {
            return Some(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_byte_is_seen() {
        let arena = Arena::new(Kind::Private, 7).unwrap();
        assert!(arena.neighbours_are_good() && arena.is_good(0, LENGTH));
        // SAFETY: in the mapping.
        unsafe { *arena.at(2 * SIZE + 1) ^= 1 };
        assert!(!arena.neighbours_are_good());
        assert!(arena.is_good(0, 2 * SIZE));
        arena.unmap();
    }

    #[test]
    fn files_hold_the_pattern() {
        let file = memory_file(9).unwrap();
        let arena = Arena::map(Kind::PrivateFile(&file), 9).unwrap();
        assert!(arena.is_good(0, LENGTH));
        assert_ne!(content(9, 0, 64), content(8, 0, 64));
        arena.unmap();
    }
}
