//! Waiting until one of several open files is ready.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{OpenFile, Readiness};
use crate::arch::{thread, time};
use crate::error::{Errno, Result};
use crate::sync::WaitQueue;

/// One file that is waited for.
#[derive(Debug)]
pub struct PollEntry {
    file: Option<Arc<OpenFile>>,
    interest: Readiness,
    found: Readiness,
}

impl PollEntry {
    /// Waits for what is in `interest`, and for what nobody can ignore.
    pub fn new(file: Arc<OpenFile>, interest: Readiness) -> Self {
        let always = Readiness::ERROR | Readiness::HANG_UP;
        Self {
            file: Some(file),
            interest: interest | always,
            found: Readiness::empty(),
        }
    }

    /// Not an open file: that is ready at once.
    pub fn invalid() -> Self {
        Self {
            file: None,
            interest: Readiness::empty(),
            found: Readiness::INVALID,
        }
    }

    /// Nothing, which is never ready: a negative descriptor.
    pub fn ignored() -> Self {
        Self {
            file: None,
            interest: Readiness::empty(),
            found: Readiness::empty(),
        }
    }

    /// What was found.
    pub fn found(&self) -> Readiness {
        self.found
    }

    fn ask(&mut self) -> bool {
        if let Some(file) = &self.file {
            self.found = file.readiness() & self.interest;
        }
        !self.found.is_empty()
    }
}

/// Asks all entries, and waits until one is ready. Returns how many are. `deadline` is in
/// nanoseconds since boot; `None` is for ever.
///
/// # Errors
///
/// `EINTR`: a signal came first.
pub fn poll(entries: &mut [PollEntry], deadline: Option<u64>) -> Result<usize> {
    loop {
        let ready = entries
            .iter_mut()
            .map(PollEntry::ask)
            .filter(|ready| *ready);
        let count = ready.count();
        if count > 0 || deadline.is_some_and(|deadline| deadline <= time::now()) {
            return Ok(count);
        }
        let files: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.file.clone())
            .collect();
        let queues = files.iter().filter_map(|file| file.waiters());
        let _waiting: Vec<_> = queues.map(WaitQueue::join).collect();
        // What became true before the thread was in the queues woke nobody: ask again.
        if entries.iter_mut().any(PollEntry::ask) {
            continue;
        }
        if thread::has_signal() {
            return Err(Errno::EINTR);
        }
        match deadline {
            Some(deadline) => thread::park_until(deadline),
            None => thread::park(),
        }
    }
}
