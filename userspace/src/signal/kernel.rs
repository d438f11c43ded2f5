//! The system calls about signals, without a C library's wrappers.
//!
//! In a handler, where the stack is small: the library's signal sets are 16 times as long as the
//! kernel's, and its wrappers make copies.

use std::io;
use std::ptr;

use libc::siginfo_t;

/// The kernel's `struct sigaction` (`asm/signal.h`), the same on x86-64 and arm64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) handler: usize,
    pub(super) flags: usize,
    /// Where a handler returns to; the C library knows.
    restorer: usize,
    /// One bit for each signal, that of signal 1 first.
    pub(super) mask: u64,
}

/// The set of SIGBUS alone.
pub(super) const SIGBUS: u64 = 1 << (libc::SIGBUS - 1);

/// Bytes in the kernel's signal set.
const SET: usize = size_of::<u64>();

impl Action {
    /// What the kernel does with a SIGBUS at present; `None` if it will not say, which it does.
    pub(super) fn current() -> Option<Self> {
        let mut action = Self::default();
        // SAFETY: nothing to set, and room for the answer.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                libc::SIGBUS,
                ptr::null::<Self>(),
                &raw mut action,
                SET,
            )
        };
        (result == 0).then_some(action)
    }

    /// Makes this the action for SIGBUS.
    ///
    /// # Safety
    ///
    /// It must have been the action before, or have no handler.
    pub(super) unsafe fn set(&self) {
        // SAFETY: the caller's contract. It cannot fail: signal and address are valid.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                libc::SIGBUS,
                &raw const *self,
                ptr::null_mut::<Self>(),
                SET,
            );
        }
    }
}

/// Blocks the signals of `set` in the calling thread; returns those blocked before.
pub(super) fn block(set: u64) -> u64 {
    change_mask(libc::SIG_BLOCK, set)
}

/// Makes `set` the blocked signals of the calling thread.
pub(super) fn set_mask(set: u64) {
    change_mask(libc::SIG_SETMASK, set);
}

fn change_mask(how: i32, set: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both sets are as long as the kernel's.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const set,
            &raw mut before,
            SET,
        );
    }
    before
}

/// Sends the calling thread the signal it got, with all that came with it.
pub(super) fn send_again(signal: i32, info: *mut siginfo_t) {
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    // SAFETY: a process may send itself any information it received; the kernel only reads it.
    unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process,
            thread_id(),
            signal,
            info,
        )
    };
}

/// The kernel's number of the calling thread.
pub(super) fn thread_id() -> u32 {
    // SAFETY: takes nothing and touches no memory.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    id as u32
}

/// Makes `handler` the action for SIGBUS, through the C library, which adds what it needs.
pub(super) fn install(handler: usize, flags: i32) -> io::Result<()> {
    // SAFETY: all zero is a valid `sigaction`: the default action, no flags, nothing masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the caller's handler is fit for these flags: there is only ours.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_library_mean_the_same_action() {
        let mut libc = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: nothing to set, and room for the answer.
        unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), libc.as_mut_ptr()) };
        // SAFETY: the call wrote it.
        let libc = unsafe { libc.assume_init() };
        let action = Action::current().unwrap();
        assert_eq!(action.handler, libc.sa_sigaction);
        assert_eq!(action.flags as i32 & libc.sa_flags, libc.sa_flags);
        // The handler of `std`.
        assert_ne!(action.handler, libc::SIG_DFL);
    }

    #[test]
    fn blocking_is_undone() {
        let before = block(SIGBUS);
        assert_eq!(before & SIGBUS, 0);
        assert_eq!(block(0) & SIGBUS, SIGBUS);
        set_mask(before);
        assert_eq!(block(0), before);
    }
}
