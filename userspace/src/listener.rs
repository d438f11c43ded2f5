//! Hearing of poison before anyone touches it.
//!
//! When the kernel learns of lost memory that nobody has accessed yet (a patrol scrub found it),
//! it tells only threads that asked for *early kill*, by SIGBUS with `BUS_MCEERR_AO`: action
//! optional. A thread of its own asks, so that no other thread is interrupted.
//!
//! The signal is only a hint. It is not queued: of two at once, one is lost; and a page that is
//! mapped twice is reported once. So every event leads to a rescan of all regions.

use std::fmt;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::Extent;
use crate::install::{InstallError, installed};
use crate::region::can_probe;
use crate::region::registry::{self, Lost};
use crate::signal::Cause;

/// How many notices came: what a listener sleeps on.
static NOTICES: AtomicU32 = AtomicU32::new(0);

/// The last notice: the address of the page, with the logarithm of the extent in the bits that are
/// zero in it.
static LAST: AtomicUsize = AtomicUsize::new(0);
const LOG2_BITS: usize = 0x3f;

/// Whether a listener runs; there is one policy of early kill, so there is one listener.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Memory was lost that nobody has touched yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoisonEvent {
    /// What the kernel reported last, in any memory of this process.
    pub extent: Extent,
    /// What the rescan found in the regions, this extent or others. Empty if the memory belongs to
    /// none, or if an access met the poison before.
    pub lost: Vec<Lost>,
}

/// Why there can be no listener.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// Another one runs.
    Already,
    /// This kernel cannot probe for poison (`MADV_POPULATE_READ`, Linux 5.14), so that nothing
    /// could be found.
    Unsupported,
    /// Without our handler a notice would kill the process.
    Install(InstallError),
    /// The thread could not be started, or the kernel refused early kill.
    Io(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Already => f.write_str("a listener runs already: stop that one first"),
            Self::Unsupported => f.write_str(
                "this kernel cannot find poison without touching it: MADV_POPULATE_READ needs Linux 5.14",
            ),
            Self::Install(error) => error.fmt(f),
            Self::Io(error) => write!(f, "cannot listen for poison: {error}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Already | Self::Unsupported => None,
            Self::Install(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}

/// A thread that hears of poison early; dropping it ends it.
#[derive(Debug)]
pub struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts a thread that calls `on_event` after every notice, when the regions were rescanned.
    ///
    /// `on_event` may use everything of this crate, except dropping the listener.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; on a kernel without `CONFIG_MEMORY_FAILURE` it starts, and hears nothing.
    pub fn start(on_event: impl FnMut(&PoisonEvent) + Send + 'static) -> Result<Self, ListenError> {
        installed().map_err(ListenError::Install)?;
        if !can_probe() {
            return Err(ListenError::Unsupported);
        }
        if LISTENING.swap(true, Ordering::AcqRel) {
            return Err(ListenError::Already);
        }
        let stop = Arc::new(AtomicBool::new(false));
        // From here on, whatever happens, the thread gives the place back.
        let place = Place;
        let seen = NOTICES.load(Ordering::Acquire);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("poison listener".into())
            .spawn({
                let stop = Arc::clone(&stop);
                move || {
                    let _place = place;
                    let asked = ask_for_early_kill();
                    let listen = asked.is_ok();
                    // The starter waits for this, and nobody else has the other end.
                    let _ = ready.send(asked);
                    if listen {
                        run(&stop, seen, on_event);
                    }
                }
            });
        let listener = Self {
            stop,
            thread: Some(thread.map_err(ListenError::Io)?),
        };
        match is_ready.recv() {
            Ok(asked) => asked.map(|()| listener).map_err(ListenError::Io),
            Err(_) => Err(ListenError::Io(io::Error::other(
                "the thread ended at once",
            ))),
        }
    }

    /// Ends the thread and waits for it.
    ///
    /// # Errors
    ///
    /// What `on_event` panicked with, if it did.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end()
    }

    fn end(&mut self) -> thread::Result<()> {
        self.stop.store(true, Ordering::Release);
        wake();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A panic of the callback was already reported by its thread.
        let _ = self.end();
    }
}

/// The right to be the listener.
struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        LISTENING.store(false, Ordering::Release);
    }
}

fn run(stop: &AtomicBool, mut seen: u32, mut on_event: impl FnMut(&PoisonEvent)) {
    loop {
        let now = NOTICES.load(Ordering::Acquire);
        if stop.load(Ordering::Acquire) {
            return;
        }
        if now == seen {
            sleep(seen);
            continue;
        }
        seen = now;
        let last = LAST.load(Ordering::Acquire);
        let event = PoisonEvent {
            extent: Extent::around(last & !LOG2_BITS, (last & LOG2_BITS) as u8),
            lost: registry::rescan(),
        };
        // A stop adds to the count too.
        if last != 0 && !stop.load(Ordering::Acquire) {
            on_event(&event);
        }
    }
}

/// Makes the kernel send `BUS_MCEERR_AO` to this thread.
fn ask_for_early_kill() -> io::Result<()> {
    // The kernel's `linux/prctl.h`.
    const PR_MCE_KILL: libc::c_int = 33;
    const PR_MCE_KILL_SET: libc::c_ulong = 1;
    const PR_MCE_KILL_EARLY: libc::c_ulong = 1;
    const NONE: libc::c_ulong = 0;
    unblock()?;
    // SAFETY: takes no pointers.
    match unsafe { libc::prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, NONE, NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The thread inherits the mask of the one that starts it.
fn unblock() -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a valid place for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: a valid set and a valid signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGBUS) };
    // SAFETY: the set was initialised.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A `BUS_MCEERR_AO`, in the signal handler. Says whether that is the end of it: if a listener runs
/// or the memory is a region's. Otherwise the program knows nothing of this memory, and the
/// signal is passed on.
pub(crate) fn notice(cause: Cause) -> bool {
    let ours = LISTENING.load(Ordering::Acquire) || registry::contains(cause.address);
    if ours {
        let log2 = usize::from(cause.log2_extent) & LOG2_BITS;
        LAST.store(cause.address & !LOG2_BITS | log2, Ordering::Release);
        wake();
    }
    ours
}

/// Number of notices of poison that this process got. Where no listener runs, a program can look at
/// it now and then, and call [`rescan`](crate::rescan) when it has changed.
#[must_use]
pub fn notices() -> u32 {
    NOTICES.load(Ordering::Acquire)
}

fn wake() {
    NOTICES.fetch_add(1, Ordering::AcqRel);
    // SAFETY: the address of a static word; waking has no other effect.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            NOTICES.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        )
    };
}

/// Sleeps until there are other than `seen` notices, or a signal comes.
fn sleep(seen: u32) {
    // SAFETY: the address of a static word, which the kernel only reads; no timeout.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            NOTICES.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            seen,
            ptr::null::<libc::timespec>(),
        )
    };
}
