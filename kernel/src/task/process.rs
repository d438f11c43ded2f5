//! A process: what its threads share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::arch::time;
use crate::error::{Errno, Result};
use crate::fs::{Context, Descriptors, OpenFile, Path};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::exit::{Ending, Status};
use crate::task::signal::{Actions, Pending};
use crate::task::timer::IntervalTimer;
use crate::task::{Limits, Name, Pid, Thread, Tree, UserSpace};

/// What threads share.
#[derive(Debug)]
pub struct Process {
    /// Its number: that of its first thread.
    pub id: Pid,
    /// The threads that have not ended.
    pub threads: SpinLock<Vec<Arc<Thread>>>,
    /// Woken when a thread ends.
    pub departures: WaitQueue,
    /// Its address space, until its last thread ends.
    pub space: SpinLock<Option<Arc<UserSpace>>>,
    /// Its open files, until its last thread ends.
    pub files: SpinLock<Option<Arc<Descriptors>>>,
    /// What its path names mean.
    pub context: Arc<Context>,
    /// The program that it runs.
    pub executable: SpinLock<Option<Path>>,
    /// What concerns signals to all of it.
    pub signals: SpinLock<ProcessSignals>,
    /// Woken when it need not be stopped any more.
    pub continued: WaitQueue,
    /// Woken when a child has something to tell.
    pub children: WaitQueue,
    /// What its parent gets when it ends; 0 for none.
    pub exit_signal: u8,
    /// Its parent waits until it has its own memory.
    pub borrowed: Borrowed,
    /// Whether others may see its memory, as in a core dump (`PR_SET_DUMPABLE`).
    pub dumpable: AtomicBool,
    /// What it may use.
    pub limits: SpinLock<Limits>,
    /// `setitimer(ITIMER_REAL)`.
    pub real_timer: SpinLock<IntervalTimer>,
    /// When it began, in nanoseconds since boot.
    pub started: u64,
    /// How long its threads that have ended ran, in nanoseconds.
    pub runtime: AtomicU64,
    /// The same, of its children that were waited for and theirs.
    pub children_runtime: AtomicU64,
}

/// What the threads of a process share about signals.
#[derive(Debug, Default)]
pub struct ProcessSignals {
    /// What to do with them.
    pub actions: Actions,
    /// Those sent to the process, for any thread that does not block them.
    pub pending: Pending,
    /// Why threads end, if they must.
    pub ending: Option<Ending>,
    /// All threads stop.
    pub stopped: bool,
    /// How often it was continued: so that a stop that came before is not taken after.
    pub continuations: u32,
}

/// Whether a child of `vfork` still runs in its parent's memory.
#[derive(Debug, Default)]
pub struct Borrowed {
    over: SpinLock<bool>,
    waiters: WaitQueue,
}

impl Borrowed {
    /// The memory is the parent's alone again.
    pub fn give_back(&self) {
        *self.over.lock() = true;
        self.waiters.wake_all();
    }

    /// Waits for that, or for `also`.
    pub fn wait(&self, also: impl Fn() -> bool) {
        self.waiters
            .wait_until(|| (*self.over.lock() || also()).then_some(()));
    }

    /// Wakes who waits, to look at `also` again.
    pub fn wake(&self) {
        self.waiters.wake_all();
    }
}

static TREE: SpinLock<Tree<Arc<Process>>> = SpinLock::new(Tree::new());

/// All processes.
pub fn tree() -> &'static SpinLock<Tree<Arc<Process>>> {
    &TREE
}

/// The process with this number.
pub fn find(pid: Pid) -> Option<Arc<Process>> {
    TREE.lock().get(pid).cloned()
}

/// The thread with this number.
pub fn find_thread(id: Pid) -> Option<Arc<Thread>> {
    let in_process = |process: &Arc<Process>| {
        let threads = process.threads.lock();
        threads.iter().find(|thread| thread.id() == id).cloned()
    };
    let tree = TREE.lock();
    match tree.get(id).and_then(in_process) {
        Some(thread) => Some(thread),
        None => tree.all().find_map(|(_, process)| in_process(process)),
    }
}

impl Process {
    /// One without threads, memory and files.
    pub fn new(id: Pid, context: Arc<Context>, exit_signal: u8) -> Self {
        Self {
            id,
            threads: SpinLock::default(),
            departures: WaitQueue::new(),
            space: SpinLock::default(),
            files: SpinLock::default(),
            context,
            executable: SpinLock::default(),
            signals: SpinLock::default(),
            continued: WaitQueue::new(),
            children: WaitQueue::new(),
            exit_signal,
            borrowed: Borrowed::default(),
            dumpable: AtomicBool::new(true),
            limits: SpinLock::default(),
            real_timer: SpinLock::default(),
            started: time::now(),
            runtime: AtomicU64::new(0),
            children_runtime: AtomicU64::new(0),
        }
    }

    /// Its address space, if it has not ended.
    pub fn space(&self) -> Option<Arc<UserSpace>> {
        self.space.lock().clone()
    }

    /// Its open files.
    ///
    /// # Errors
    ///
    /// `EBADF`: it has ended.
    pub fn files(&self) -> Result<Arc<Descriptors>> {
        self.files.lock().clone().ok_or(Errno::EBADF)
    }

    /// An open file of it.
    ///
    /// # Errors
    ///
    /// `EBADF`: it has no such descriptor, or has ended.
    pub fn file(&self, descriptor: i32) -> Result<Arc<OpenFile>> {
        let files = self.files.lock();
        files.as_ref().ok_or(Errno::EBADF)?.get(descriptor)
    }

    /// Its first thread, or another if that has ended.
    pub fn leader(&self) -> Option<Arc<Thread>> {
        let threads = self.threads.lock();
        let leader = threads.iter().find(|thread| thread.id() == self.id);
        leader.or(threads.first()).cloned()
    }

    /// Its parent, its group and its session.
    pub fn family(&self) -> (Pid, Pid, Pid) {
        let tree = tree().lock();
        let group = tree.group(self.id).unwrap_or(Pid::NONE);
        let session = tree.session(self.id).unwrap_or(Pid::NONE);
        (tree.parent(self.id), group, session)
    }

    /// What `/proc/pid/comm` shows.
    pub fn name(&self) -> Name {
        self.leader()
            .map_or(Name::default(), |thread| *thread.name.lock())
    }

    /// How long it has run, in nanoseconds.
    pub fn total_runtime(&self) -> u64 {
        let threads = self.threads.lock();
        let live: u64 = threads.iter().map(|thread| thread.entity.runtime()).sum();
        live + self.runtime.load(Ordering::Relaxed)
    }

    /// The state letter of `/proc/pid/stat`.
    pub fn letter(&self) -> char {
        if tree().lock().status(self.id).is_some() {
            'Z'
        } else if self.signals.lock().stopped {
            'T'
        } else {
            self.leader().map_or('S', |thread| thread.entity.letter())
        }
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<Status> {
        tree().lock().status(self.id)
    }
}
