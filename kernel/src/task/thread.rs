//! A thread, and which one runs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arch;
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::sync::SpinLock;
use crate::task::coredump::Snapshot;
use crate::task::scheduler::Entity;
use crate::task::signal::{Fault, Pending, Restart, SignalSet};
use crate::task::{Pid, Process, UserSpace, Work};

/// One thread of a process.
#[derive(Debug)]
pub struct Thread {
    /// Its number. It changes when `execve` makes it the first thread.
    id: AtomicU32,
    /// What it is part of.
    pub process: Arc<Process>,
    /// The address space that it runs in; none for threads of the kernel's.
    pub space: SpinLock<Option<Arc<UserSpace>>>,
    /// Its kernel stack, and its registers while it does not run.
    pub state: arch::thread::State,
    /// What the scheduler knows of it.
    pub entity: Entity,
    /// What it must do before it goes back to user mode.
    pub work: Work,
    /// How many guards keep it on its CPU.
    pub preemption_off: AtomicU32,
    /// Its signals.
    pub signals: SpinLock<ThreadSignals>,
    /// Where to store zero when it ends, with a futex wake-up (`set_tid_address`).
    pub clear_on_exit: AtomicU64,
    /// The head of its list of robust futexes (`set_robust_list`).
    pub robust_list: AtomicU64,
    /// Where to store its number when it first runs (`CLONE_CHILD_SETTID`).
    pub store_number: AtomicU64,
    /// What it was when its process began to be dumped.
    pub snapshot: SpinLock<Option<Box<Snapshot>>>,
    /// What `prctl(PR_SET_NAME)` and `/proc/pid/comm` call it.
    pub name: SpinLock<Name>,
}

/// What a thread has for itself about signals.
#[derive(Debug, Default)]
pub struct ThreadSignals {
    /// Those sent to it.
    pub pending: Pending,
    /// Those that wait.
    pub mask: SignalSet,
    /// The mask to come back to, after a call that changed it for its own duration.
    pub saved_mask: Option<SignalSet>,
    /// Where handlers run if they ask for it (`sigaltstack`).
    pub stack: AlternateStack,
    /// The system call that a signal interrupted.
    pub restart: Option<Restart>,
    /// A sleep that a signal interrupted: until when, and where the time left goes.
    pub sleep: Option<(u64, UserAddress)>,
    /// The fault behind the signal that is forced on it.
    pub fault: Option<Fault>,
}

/// A stack for signal handlers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlternateStack {
    /// Its lowest address.
    pub base: u64,
    /// Its length in bytes; 0 if there is none.
    pub length: u64,
    /// `SS_AUTODISARM`.
    pub disarm: bool,
}

/// The name of a thread: 15 bytes and a zero.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Name(pub [u8; 16]);

impl Name {
    /// The first 15 bytes of `bytes`, up to a zero.
    pub fn new(bytes: &[u8]) -> Self {
        let mut name = [0; 16];
        for (to, from) in name[..15]
            .iter_mut()
            .zip(bytes.iter().take_while(|byte| **byte != 0))
        {
            *to = *from;
        }
        Self(name)
    }

    /// Without the zeros at the end.
    pub fn bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|byte| *byte == 0);
        &self.0[..length.unwrap_or(self.0.len())]
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.bytes().escape_ascii(), formatter)
    }
}

impl Thread {
    /// A thread of `process` that has not run.
    pub fn new(id: Pid, process: Arc<Process>, state: arch::thread::State) -> Self {
        let space = process.space();
        Self {
            id: AtomicU32::new(id.0),
            process,
            space: SpinLock::new(space),
            state,
            entity: Entity::default(),
            work: Work::default(),
            preemption_off: AtomicU32::new(0),
            signals: SpinLock::default(),
            clear_on_exit: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            store_number: AtomicU64::new(0),
            snapshot: SpinLock::default(),
            name: SpinLock::default(),
        }
    }

    /// Its number.
    pub fn id(&self) -> Pid {
        Pid(self.id.load(Ordering::Relaxed))
    }

    /// Gives it another number.
    pub(in crate::task) fn set_id(&self, id: Pid) {
        self.id.store(id.0, Ordering::Relaxed);
    }

    /// The address space that it runs in.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it is a thread of the kernel's.
    pub fn space(&self) -> Result<Arc<UserSpace>> {
        self.space.lock().clone().ok_or(Errno::EFAULT)
    }
}

/// The running thread. It cannot be sent elsewhere, so the thread outlives it: a thread's stack
/// goes only after it has ended.
#[derive(Debug)]
pub struct Current(NonNull<Thread>);

impl Deref for Current {
    type Target = Thread;

    #[expect(unsafe_code, reason = "the CPU holds a reference of its own")]
    fn deref(&self) -> &Thread {
        // SAFETY: `set_current` made the pointer from an `Arc` that the scheduler keeps for as
        // long as the thread runs, and only the running thread has this value.
        unsafe { self.0.as_ref() }
    }
}

impl Current {
    /// A counted reference that can go elsewhere.
    #[expect(unsafe_code, reason = "the pointer is an Arc's")]
    pub fn share(&self) -> Arc<Thread> {
        // SAFETY: the pointer is an `Arc`'s, which is alive, as above.
        unsafe { Arc::increment_strong_count(self.0.as_ptr()) };
        // SAFETY: the count just added is this one's.
        unsafe { Arc::from_raw(self.0.as_ptr()) }
    }
}

/// The running thread, if the scheduler runs on this CPU.
pub fn try_current() -> Option<Current> {
    NonNull::new(arch::thread::current_pointer().cast_mut()).map(Current)
}

/// The running thread.
///
/// # Panics
///
/// Before the scheduler runs on this CPU.
pub fn current() -> Current {
    try_current().expect("the scheduler runs on this CPU")
}

/// Says which thread runs on this CPU. Whoever calls this keeps the reference for as long.
pub fn set_current(thread: &Arc<Thread>) {
    arch::thread::set_current_pointer(Arc::as_ptr(thread));
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_are_cut() {
        assert_eq!(Name::new(b"short").bytes(), b"short");
        assert_eq!(Name::new(b"a\0b").bytes(), b"a");
        assert_eq!(Name::new(b"0123456789abcdefgh").bytes(), b"0123456789abcde");
    }
}
