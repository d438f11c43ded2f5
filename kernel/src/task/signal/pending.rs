//! Signals that were sent and not delivered yet.

use alloc::collections::VecDeque;

use crate::error::{Errno, Result};
use crate::task::signal::{Info, Signal, SignalSet};

/// How many real-time signals can wait in one queue (`RLIMIT_SIGPENDING` of a small machine).
const QUEUE_LIMIT: usize = 1024;

/// A queue of signals: at most one of each standard signal, any number of the others.
#[derive(Debug, Default)]
pub struct Pending {
    set: SignalSet,
    queue: VecDeque<Info>,
}

impl Pending {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            set: SignalSet::EMPTY,
            queue: VecDeque::new(),
        }
    }

    /// Which signals are pending.
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Adds a signal. A standard one that is pending already is not added again.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: no room for another real-time signal. Standard signals are pending even if
    /// there is no memory to say why.
    pub fn push(&mut self, info: Info) -> Result<()> {
        let real_time = info.signal.is_real_time();
        if !real_time && self.set.has(info.signal) {
            return Ok(());
        }
        let room =
            (!real_time || self.queue.len() < QUEUE_LIMIT) && self.queue.try_reserve(1).is_ok();
        if room {
            self.queue.push_back(info);
        } else if real_time {
            return Err(Errno::EAGAIN);
        }
        self.set = self.set.with(info.signal);
        Ok(())
    }

    /// Takes the signal in `wanted` that is to be delivered first.
    pub fn take(&mut self, wanted: SignalSet) -> Option<Info> {
        let signal = self.set.common(wanted).first()?;
        let place = self.queue.iter().position(|info| info.signal == signal);
        let info = place
            .and_then(|place| self.queue.remove(place))
            .unwrap_or(Info::kernel(signal));
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set = self.set.without(SignalSet::of(signal));
        }
        Some(info)
    }

    /// Forgets all signals in `set`.
    pub fn forget(&mut self, set: SignalSet) {
        if !self.set.common(set).is_empty() {
            self.queue.retain(|info| !set.has(info.signal));
            self.set = self.set.without(set);
        }
    }

    /// Whether `signal` is pending.
    pub fn has(&self, signal: Signal) -> bool {
        self.set.has(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, QUEUE_LIMIT};
    use crate::error::Errno;
    use crate::task::Pid;
    use crate::task::signal::{Detail, Info, Signal, SignalSet};

    const ALL: SignalSet = SignalSet(u64::MAX);

    fn from(signal: Signal, sender: u32) -> Info {
        Info {
            signal,
            code: 0,
            detail: Detail::Sender(Pid(sender), 0),
        }
    }

    #[test]
    fn standard_signals_merge_and_real_time_ones_queue() {
        let real_time = Signal::new(40).unwrap();
        let mut pending = Pending::new();
        for sender in 1..=2 {
            pending.push(from(Signal::SIGUSR1, sender)).unwrap();
            pending.push(from(real_time, sender)).unwrap();
        }
        assert_eq!(pending.take(ALL), Some(from(Signal::SIGUSR1, 1)));
        assert_eq!(pending.take(ALL), Some(from(real_time, 1)));
        assert!(pending.has(real_time));
        assert_eq!(pending.take(ALL), Some(from(real_time, 2)));
        assert_eq!(pending.take(ALL), None);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn a_full_queue_refuses_real_time_signals_only() {
        let real_time = Signal::new(64).unwrap();
        let mut pending = Pending::new();
        for sender in 0..QUEUE_LIMIT {
            pending.push(from(real_time, sender as u32)).unwrap();
        }
        assert_eq!(pending.push(from(real_time, 0)), Err(Errno::EAGAIN));
        pending.push(from(Signal::SIGTERM, 9)).unwrap();
        assert_eq!(pending.take(ALL), Some(from(Signal::SIGTERM, 9)));
        pending.forget(ALL);
        assert_eq!(pending.take(ALL), None);
    }

    #[test]
    fn blocked_signals_stay() {
        let mut pending = Pending::new();
        pending.push(from(Signal::SIGINT, 1)).unwrap();
        assert_eq!(
            pending.take(ALL.without(SignalSet::of(Signal::SIGINT))),
            None
        );
        assert!(pending.has(Signal::SIGINT));
    }
}
