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
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use libc::siginfo_t;

use super::handler::handle;
use super::turn::Turn;
use super::{Cause, thread_id};

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
    flags: AtomicI32,
    mask: AtomicU64,
}

impl Successor {
    const fn new() -> Self {
        Self {
            handler: AtomicUsize::new(libc::SIG_DFL),
            flags: AtomicI32::new(0),
            mask: AtomicU64::new(0),
        }
    }

    fn set(&self, action: &libc::sigaction) {
        self.flags.store(action.sa_flags, Ordering::Relaxed);
        self.mask.store(to_word(&action.sa_mask), Ordering::Relaxed);
        self.handler.store(action.sa_sigaction, Ordering::Release);
    }

    fn handler(&self) -> usize {
        self.handler.load(Ordering::Acquire)
    }
}

/// What the kernel does with a SIGBUS at present.
///
/// # Errors
///
/// The `errno` of `sigaction`; none is known for this use.
pub(crate) fn current() -> Result<libc::sigaction, i32> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: a valid signal, nothing to set, and room for the answer.
    let result = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    // SAFETY: the call succeeded, so it wrote the answer.
    Ok(unsafe { action.assume_init() })
}

fn set(action: &libc::sigaction) -> Result<(), i32> {
    // SAFETY: the action is either ours, which is fit for every signal, or one that was in force.
    match unsafe { libc::sigaction(libc::SIGBUS, action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

fn ours() -> libc::sigaction {
    action(handle as *const () as usize, FLAGS)
}

fn action(handler: usize, flags: c_int) -> libc::sigaction {
    // SAFETY: all zero is a valid `sigaction`: the default action, no flags, nothing masked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

/// Whether `action` is our handler with the flags it needs.
pub(crate) fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handle as *const () as usize && action.sa_flags & FLAGS == FLAGS
}

/// Puts our handler first and what was there behind it; returns what that was.
///
/// # Errors
///
/// The `errno` of `sigaction`.
pub(crate) fn arm(again: bool) -> Result<libc::sigaction, i32> {
    let found = current()?;
    if is_ours(&found) {
        return Ok(found);
    }
    let is_handler = !matches!(found.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    // In place before the handler is: a signal may come at once.
    if again && is_handler {
        ABOVE.set(&found);
    } else {
        BELOW.set(&found);
        ABOVE.set(&action(libc::SIG_DFL, 0));
    }
    set(&ours())?;
    Ok(found)
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
    let handler = successor.handler();
    let flags = successor.flags.load(Ordering::Relaxed);
    let Ok(before) = current() else {
        return;
    };
    if flags & libc::SA_RESETHAND != 0 {
        successor.set(&action(libc::SIG_DFL, 0));
    }
    let mut block = to_set(successor.mask.load(Ordering::Relaxed));
    if flags & libc::SA_NODEFER == 0 {
        // SAFETY: a valid set and a valid signal.
        unsafe { libc::sigaddset(&raw mut block, libc::SIGBUS) };
    }
    let mask = change_mask(libc::SIG_BLOCK, &block);
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: whoever installed this address with this flag said that it is such a function.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever installed this address without the flag said that it is this.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
    // Before our repair: a handler that blocked SIGBUS, reset it and raised it again, as crash
    // reporters do, now dies as it meant to.
    change_mask(libc::SIG_SETMASK, &mask);
    keep_our_place(successor, &before);
}

/// Undoes what a handler did to the action for SIGBUS, but remembers it as what follows us.
fn keep_our_place(successor: &Successor, before: &libc::sigaction) {
    if let Ok(after) = current()
        && after.sa_sigaction != before.sa_sigaction
    {
        if !is_ours(&after) {
            successor.set(&after);
        }
        // Nothing better can be done where it fails than to let the handler's change stand.
        let _ = set(before);
    }
}

/// Takes the default action for this signal. Returns, and the interrupted context, when it
/// resumes, receives the signal again and dies.
fn die(signal: c_int, info: *mut siginfo_t) {
    // Blocked here, so that it arrives not in this handler but where the first one did: the
    // kernel restores the mask along with the other registers.
    let mut set_of_one = to_set(0);
    // SAFETY: a valid set and a valid signal.
    unsafe { libc::sigaddset(&raw mut set_of_one, libc::SIGBUS) };
    change_mask(libc::SIG_BLOCK, &set_of_one);
    // If this fails, a fault repeats, and comes back here, for ever: but it cannot.
    let _ = set(&action(libc::SIG_DFL, 0));
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
        );
    }
}

/// Changes the calling thread's signal mask and returns what it was.
fn change_mask(how: c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = to_set(0);
    // SAFETY: both sets are valid; the function may be called in a signal handler.
    unsafe { libc::pthread_sigmask(how, set, &raw mut before) };
    before
}

/// The first 64 signals of a set: Linux has no more.
fn to_word(set: &libc::sigset_t) -> u64 {
    // SAFETY: both C libraries start a set with the kernel's 64 bits, on every architecture.
    unsafe { (&raw const *set).cast::<u64>().read() }
}

fn to_set(word: u64) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: as in `to_word`; the set is longer than a word and aligned to it.
    unsafe { set.as_mut_ptr().cast::<u64>().write(word) };
    // SAFETY: a set is plain integers, all of which are zero or were written.
    unsafe { set.assume_init() }
}
