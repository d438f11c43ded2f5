//! Ways to make memory fail. Each says why it cannot where it cannot.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

use super::pages::{Pages, page};

/// Whether this program runs under qemu-user, which ignores much and says nothing. It does not
/// implement `process_vm_readv`, which every Linux that this crate supports has.
pub(crate) fn is_emulated() -> bool {
    // SAFETY: nothing to read and nowhere to write.
    let result = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            std::process::id(),
            0_usize,
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        )
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

/// Poisons a page for real: needs `CONFIG_MEMORY_FAILURE` and root. The page is lost until reboot.
/// The calling thread gets a SIGBUS at once, unless it asked for early kill.
pub(crate) fn hwpoison(pages: &Pages, index: usize) -> Result<(), String> {
    let start = pages.at(index * page());
    // SAFETY: a page of the caller's, which it expects to lose.
    if unsafe { libc::madvise(start.cast(), page(), libc::MADV_HWPOISON) } == 0 {
        return Ok(());
    }
    Err(format!(
        "this kernel or user cannot poison memory (MADV_HWPOISON): {}",
        io::Error::last_os_error()
    ))
}

/// Whether [`hwpoison`] would work. Loses no page.
pub(crate) fn can_hwpoison() -> Result<(), String> {
    if is_emulated() {
        return Err("qemu-user ignores MADV_HWPOISON".to_owned());
    }
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return Err("only root may poison memory (MADV_HWPOISON)".to_owned());
    }
    // SAFETY: an empty range: nothing is poisoned.
    if unsafe { libc::madvise(page() as *mut _, 0, libc::MADV_HWPOISON) } == 0 {
        return Ok(());
    }
    Err(format!(
        "this kernel or user cannot poison memory (MADV_HWPOISON): {}",
        io::Error::last_os_error()
    ))
}

/// Marks pages as poisoned through userfaultfd (Linux 6.6, root). Only the mark is false: an access
/// is a SIGBUS, and `MADV_POPULATE_READ` tells `EHWPOISON`.
///
/// While the result lives, pages that were never touched wait for a handler that there is none of.
pub(crate) fn mark(pages: &Pages, first: usize, count: usize) -> Result<Marks, String> {
    const UFFD_API: u64 = 0xaa;
    const FEATURE_POISON: u64 = 1 << 14;
    const MODE_MISSING: u64 = 1;
    // `_IOWR(0xaa, number, size)` of the kernel's `linux/userfaultfd.h`.
    const UFFDIO_API: u32 = 0xc018_aa3f;
    const UFFDIO_REGISTER: u32 = 0xc020_aa00;
    const UFFDIO_POISON: u32 = 0xc020_aa08;

    let why = |what: &str| format!("cannot mark pages ({what}): {}", io::Error::last_os_error());
    // SAFETY: takes only flags.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    let Ok(descriptor @ 0..) = i32::try_from(descriptor) else {
        return Err(why("userfaultfd"));
    };
    // SAFETY: the descriptor is new, and nobody else has it.
    let file = unsafe { File::from_raw_fd(descriptor) };
    let ask = |request: u32, words: &mut [u64]| {
        // SAFETY: each request below gets as many words as its structure has.
        unsafe { libc::ioctl(file.as_raw_fd(), request as _, words.as_mut_ptr()) == 0 }
    };
    let (start, length) = (pages.at(first * page()).addr() as u64, count * page());
    if !ask(UFFDIO_API, &mut [UFFD_API, FEATURE_POISON, 0]) {
        return Err(why("UFFD_FEATURE_POISON"));
    }
    if !ask(
        UFFDIO_REGISTER,
        &mut [start, length as u64, MODE_MISSING, 0],
    ) {
        return Err(why("UFFDIO_REGISTER"));
    }
    if !ask(UFFDIO_POISON, &mut [start, length as u64, 0, 0]) {
        return Err(why("UFFDIO_POISON"));
    }
    Ok(Marks(file))
}

/// The owner of marks. They stay when it is dropped.
pub(crate) struct Marks(#[expect(dead_code, reason = "kept open")] File);

/// Sends the calling thread a SIGBUS with this code and address, as the kernel would.
pub(crate) fn signal(code: i32, address: usize, log2: i16) {
    #[repr(C)]
    struct Information {
        signal: i32,
        errno: i32,
        code: i32,
        address: usize,
        address_lsb: i16,
        rest: [u64; 12],
    }
    const _: () = assert!(size_of::<Information>() == size_of::<libc::siginfo_t>());
    let information = Information {
        signal: libc::SIGBUS,
        errno: 0,
        code,
        address,
        address_lsb: log2,
        rest: [0; 12],
    };
    // SAFETY: takes nothing.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    // SAFETY: as long as a `siginfo_t`; the kernel only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            std::process::id(),
            thread,
            libc::SIGBUS,
            &raw const information,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
