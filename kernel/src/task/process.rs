//! A process: what its threads share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::sync::{SpinLock, WaitQueue};
use crate::task::exit::Status;
use crate::task::signal::{Actions, Pending};
use crate::task::{Pid, Thread, Tree, UserSpace};

/// What threads share.
#[derive(Debug)]
pub struct Process {
    /// Its number: that of its first thread.
    pub id: Pid,
    /// The threads that have not ended.
    pub threads: SpinLock<Vec<Arc<Thread>>>,
    /// Its address space, until its last thread ends.
    pub space: SpinLock<Option<Arc<UserSpace>>>,
    /// What concerns signals to all of it.
    pub signals: SpinLock<ProcessSignals>,
    /// Woken when a child has something to tell.
    pub children: WaitQueue,
    /// What its parent gets when it ends; 0 for none.
    pub exit_signal: u8,
}

/// What the threads of a process share about signals.
#[derive(Debug, Default)]
pub struct ProcessSignals {
    /// What to do with them.
    pub actions: Actions,
    /// Those sent to the process, for any thread that does not block them.
    pub pending: Pending,
    /// All threads end, and this is why.
    pub exiting: Option<Status>,
    /// All threads stop.
    pub stopped: bool,
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

impl Process {
    /// One without threads or memory.
    pub fn new(id: Pid, exit_signal: u8) -> Self {
        Self {
            id,
            threads: SpinLock::default(),
            space: SpinLock::default(),
            signals: SpinLock::default(),
            children: WaitQueue::new(),
            exit_signal,
        }
    }

    /// Its address space, if it has not ended.
    pub fn space(&self) -> Option<Arc<UserSpace>> {
        self.space.lock().clone()
    }
}
