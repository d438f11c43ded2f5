//! Waiting for children.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::error::Result;
use crate::task::{Event, Events, Pid, Select, current, id, tree};

/// What a wait found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The child.
    pub pid: Pid,
    /// What it has to tell.
    pub event: Event,
    /// How long it and the children it waited for ran, in nanoseconds.
    pub runtime: u64,
}

/// How a wait goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What it waits for.
    pub events: Events,
    /// Leave the event for another wait.
    pub keep: bool,
    /// Do not wait.
    pub at_once: bool,
}

/// Takes an event of a child of the running process, and waits for one if there is none.
/// `None` only if it was not to wait.
///
/// # Errors
///
/// `ECHILD`: there is no such child. `EINTR`: a signal came.
pub fn wait(select: Select, options: Options) -> Result<Option<Found>> {
    let thread = current();
    let process = &thread.process;
    let mut freed = Vec::new();
    let mut look = || {
        let mut tree = tree().lock();
        tree.wait(process.id, select, options.events, options.keep, &mut freed)
            .transpose()
    };
    let found = if options.at_once {
        look()
    } else {
        let waited = process.children.wait_interruptibly(look);
        Some(waited?)
    };
    let Some((pid, child, event)) = found.transpose()? else {
        return Ok(None);
    };
    freed.into_iter().for_each(id::free);
    let runtime = child.total_runtime() + child.children_runtime.load(Ordering::Relaxed);
    if let (Event::Exited(_), false) = (event, options.keep) {
        process
            .children_runtime
            .fetch_add(runtime, Ordering::Relaxed);
    }
    Ok(Some(Found {
        pid,
        event,
        runtime,
    }))
}
