//! System calls as they are, and who answers them.

use std::ffi::CStr;
use std::io::{Error, Result};

/// Whether the kernel is ours: the release that it names ends with our name.
///
/// # Errors
///
/// If the kernel does not tell its name.
pub fn is_seaworthy() -> Result<bool> {
    // SAFETY: zeros are a `utsname`.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the result is valid.
    if unsafe { libc::uname(&mut names) } != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel ends the name with a zero.
    let release = unsafe { CStr::from_ptr(names.release.as_ptr()) };
    Ok(release.to_bytes().ends_with(b"seaworthy"))
}

/// Makes a system call as it is, without the C library's view of it.
pub fn raw(number: i64, arguments: [u64; 6]) -> i64 {
    let result;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: whoever calls this knows that the kernel may do to this process what the call says.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
        );
    }
    #[cfg(not(target_arch = "aarch64"))]
    {
        let _ = (number, arguments);
        result = -i64::from(libc::ENOSYS);
    }
    result
}

/// Makes a `clone` or `clone3`. What it makes ends at once, without a stack: it may have none.
pub fn raw_clone(number: i64, arguments: [u64; 6]) -> i64 {
    let result;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as for `raw`; the new thread or process touches no memory.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x8, {exit}",
            "svc #0",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("x8") number => _,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
        );
    }
    #[cfg(not(target_arch = "aarch64"))]
    {
        let _ = (number, arguments);
        result = -i64::from(libc::ENOSYS);
    }
    result
}
