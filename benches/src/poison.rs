//! A page that fails as poisoned memory does, by userfaultfd: without root, hardware or loss.
//!
//! Linux 6.6 has `UFFDIO_POISON`. It leaves the same mark in the page table that an uncorrectable
//! error leaves, so the kernel takes the same way from the access to the signal.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use copy::PAGE_SIZE;

use crate::memory::Mapping;

// Requests and structures of <linux/userfaultfd.h>.
const UFFD_USER_MODE_ONLY: i32 = 1;
const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_POISON: u64 = 1 << 14;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `uffdio_register` and `uffdio_poison` alike: a range, a mode, a result.
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    mode: u64,
    result: u64,
}

/// `_IOWR(0xaa, number, T)`.
const fn read_write<T>(number: libc::Ioctl) -> libc::Ioctl {
    3 << 30 | (size_of::<T>() as libc::Ioctl) << 16 | 0xaa << 8 | number
}

/// A private page whose every access raises SIGBUS.
///
/// # Errors
///
/// If the kernel cannot or will not poison pages for a process.
pub(crate) fn poisoned_page() -> Result<Mapping> {
    let page = Mapping::anonymous(PAGE_SIZE)?;
    let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
    // SAFETY: the call takes flags only.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error()).context("userfaultfd");
    }
    // SAFETY: a descriptor that was just made has no other owner. The mark outlives it.
    let uffd = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let mut api = Api {
        api: UFFD_API,
        features: UFFD_FEATURE_POISON,
        ioctls: 0,
    };
    let request = |mode| Request {
        start: page.start().addr() as u64,
        length: PAGE_SIZE as u64,
        mode,
        result: 0,
    };
    control(&uffd, read_write::<Api>(0x3f), &mut api).context("UFFDIO_API")?;
    let mut register = request(UFFDIO_REGISTER_MODE_MISSING);
    control(&uffd, read_write::<Request>(0x00), &mut register).context("UFFDIO_REGISTER")?;
    control(&uffd, read_write::<Request>(0x08), &mut request(0)).context("UFFDIO_POISON")?;
    Ok(page)
}

fn control<T>(uffd: &OwnedFd, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: the size of the structure is part of the request, so the kernel stays inside it.
    let status = unsafe { libc::ioctl(uffd.as_raw_fd(), request, &raw mut *argument) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
