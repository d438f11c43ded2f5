//! Sessions, groups and signals, as far as a terminal needs them.

use core::fmt::Debug;

use crate::task::signal::{Disposition, Info, Signal, send_to_group};
use crate::task::{Pid, current, tree};

/// Who uses a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its session.
    pub session: Pid,
    /// Its process group.
    pub group: Pid,
    /// It leads its session.
    pub is_leader: bool,
    /// Nobody would continue its group if it stopped.
    pub is_orphaned: bool,
}

/// What a terminal asks of processes.
pub trait Jobs: Debug + Send + Sync {
    /// The running process.
    fn caller(&self) -> Caller;

    /// Whether the running thread ignores or blocks a signal.
    fn ignores(&self, signal: Signal) -> bool;

    /// Whether a session has a group.
    fn has_group(&self, session: Pid, group: Pid) -> bool;

    /// Sends a signal to a group. That there is nobody left to get it is no error.
    fn signal(&self, group: Pid, signal: Signal);
}

/// The processes of this kernel.
#[derive(Debug)]
pub struct Processes;

impl Jobs for Processes {
    fn caller(&self) -> Caller {
        let id = current().process.id;
        let tree = tree().lock();
        let session = tree.session(id).unwrap_or(Pid::NONE);
        Caller {
            session,
            group: tree.group(id).unwrap_or(Pid::NONE),
            is_leader: session == id,
            is_orphaned: tree.in_orphaned_group(id),
        }
    }

    fn ignores(&self, signal: Signal) -> bool {
        let thread = current();
        if thread.signals.lock().mask.has(signal) {
            return true;
        }
        let action = thread.process.signals.lock().actions.get(signal);
        action.disposition(signal) == Disposition::Ignore
    }

    fn has_group(&self, session: Pid, group: Pid) -> bool {
        tree().lock().has_group(session, group)
    }

    fn signal(&self, group: Pid, signal: Signal) {
        // Nobody is left, or everybody has too many pending: neither is the terminal's business.
        let _ = send_to_group(group, Info::kernel(signal));
    }
}
