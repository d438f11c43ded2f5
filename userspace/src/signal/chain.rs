//! Handing on a SIGBUS that is not ours, as if we were not there.
//!
//! * To a handler: called with what we got, under the mask and flags it was installed with. If it
//!   changes what SIGBUS does (the handler of `std` resets it, so that the fault repeats and
//!   kills), that becomes what comes after us; we stay where we are.
//! * To the default action: the process dies of this very signal, at the interrupted place, so
//!   that a core shows the true registers.
//! * To nobody (`SIG_IGN`): ignored if some process sent it; what the thread itself caused kills,
//!   as the kernel would have it.
//!
//! Between a handler's own change and our repair a second thread that meets bad memory meets
//! whatever the handler put there. That window opens only after a signal that was not ours.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use libc::siginfo_t;

use super::Cause;
use super::handler::handle;
use super::kernel::{self, Action, SIGBUS};
use super::turn::Turn;

/// The flags without which we cannot recover: the siginfo, a stack even where the thread's own is
/// what failed, and failures inside of handlers.
const FLAGS: c_int = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;

/// What the first installation found: the end of the chain.
static BELOW: Successor = Successor::new();

/// What a later installation found on top of us, if it found a handler: it now comes before
/// `BELOW`. It may in turn call us, as what *it* found.
static ABOVE: Successor = Successor::new();

/// An action for SIGBUS, readable in a signal handler. The fields are written one by one: a reader
/// that races with a change may call one handler under the mask of another.
struct Successor {
    handler: AtomicUsize,
    flags: AtomicUsize,
    mask: AtomicU64,
}

impl Successor {
    const fn new() -> Self {
        Self {
            handler: AtomicUsize::new(libc::SIG_DFL),
            flags: AtomicUsize::new(0),
            mask: AtomicU64::new(0),
        }
    }

    fn set(&self, action: &Action) {
        self.flags.store(action.flags, Ordering::Relaxed);
        self.mask.store(action.mask, Ordering::Relaxed);
        self.handler.store(action.handler, Ordering::Release);
    }

    fn handler(&self) -> usize {
        self.handler.load(Ordering::Acquire)
    }
}

/// The handler for SIGBUS at present; `SIG_DFL` and `SIG_IGN` are numbers that no handler has.
pub(crate) fn current_handler() -> Option<usize> {
    Action::current().map(|action| action.handler)
}

/// Whether SIGBUS comes to us first, and as we need it.
pub(crate) fn is_first() -> bool {
    Action::current().is_some_and(|action| is_ours(&action))
}

fn is_ours(action: &Action) -> bool {
    let flags = FLAGS as usize;
    action.handler == handle as *const () as usize && action.flags & flags == flags
}

/// Puts our handler first, and what is there now behind it.
///
/// # Errors
///
/// That of `sigaction(2)`.
pub(crate) fn arm(again: bool) -> io::Result<()> {
    let found = Action::current().ok_or_else(io::Error::last_os_error)?;
    if is_ours(&found) {
        return Ok(());
    }
    let is_handler = !matches!(found.handler, libc::SIG_DFL | libc::SIG_IGN);
    // In place before the handler is: a signal may come at once.
    if again && is_handler {
        ABOVE.set(&found);
    } else {
        BELOW.set(&found);
        ABOVE.set(&Action::default());
    }
    kernel::install(handle as *const () as usize, FLAGS)
}

/// Hands on a signal that is not ours.
pub(super) fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, cause: Cause) {
    if ABOVE.handler() != libc::SIG_DFL
        && let Some(_turn) = Turn::take(context)
    {
        call(&ABOVE, signal, info, context);
        return;
    }
    match BELOW.handler() {
        libc::SIG_DFL => die(signal, info),
        libc::SIG_IGN if cause.is_synchronous() => die(signal, info),
        libc::SIG_IGN => {}
        _ => call(&BELOW, signal, info, context),
    }
}

/// Calls a handler as the kernel would have.
fn call(successor: &Successor, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let has = |flags: usize, flag: c_int| flags & flag as usize != 0;
    let handler = successor.handler();
    let flags = successor.flags.load(Ordering::Relaxed);
    let Some(before) = Action::current() else {
        return;
    };
    if has(flags, libc::SA_RESETHAND) {
        successor.set(&Action::default());
    }
    let own = if has(flags, libc::SA_NODEFER) {
        0
    } else {
        SIGBUS
    };
    let mask = kernel::block(successor.mask.load(Ordering::Relaxed) | own);
    if has(flags, libc::SA_SIGINFO) {
        // SAFETY: whoever installed this address with this flag said that it is such a function.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever installed this address without the flag said that it is this.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
    let after = Action::current();
    // A handler that was reset and raised the signal again, as crash reporters do, now dies as it
    // meant to: our repair comes later.
    kernel::set_mask(mask);
    if let Some(after) = after
        && after.handler != before.handler
    {
        if !is_ours(&after) {
            successor.set(&after);
        }
        // SAFETY: it was the action when the handler was called.
        unsafe { before.set() };
    }
}

/// Takes the default action for this signal. Returns, and the interrupted context, when it
/// resumes, receives the signal again and dies.
fn die(signal: c_int, info: *mut siginfo_t) {
    // Blocked here, so that it arrives not in this handler but where the first one did: the
    // kernel restores the mask along with the other registers.
    kernel::block(SIGBUS);
    // SAFETY: the default action has no handler.
    unsafe { Action::default().set() };
    kernel::send_again(signal, info);
}
