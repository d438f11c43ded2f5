//! Things to do at a point in time.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use crate::arch::{thread, time};
use crate::error::{Errno, Result};
use crate::sync::{Interrupted, SpinLock, WaitQueue};
use crate::task::signal::{self, Info, Signal};
use crate::task::{Process, Thread, current};

/// A timer that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    time: u64,
    number: u64,
}

/// Timers in order of time.
#[derive(Debug)]
struct Timers<T> {
    by_time: BTreeMap<TimerId, T>,
    next: u64,
}

impl<T> Timers<T> {
    const fn new() -> Self {
        Self {
            by_time: BTreeMap::new(),
            next: 0,
        }
    }

    /// Returns the timer, and whether it is now the first.
    fn insert(&mut self, time: u64, what: T) -> (TimerId, bool) {
        self.next += 1;
        let id = TimerId {
            time,
            number: self.next,
        };
        self.by_time.insert(id, what);
        (id, self.first() == Some(time))
    }

    fn remove(&mut self, id: TimerId) -> Option<T> {
        self.by_time.remove(&id)
    }

    fn first(&self) -> Option<u64> {
        self.by_time.keys().next().map(|id| id.time)
    }

    fn take_due(&mut self, now: u64) -> Option<T> {
        let first = self.by_time.first_entry()?;
        (first.key().time <= now).then(|| first.remove())
    }
}

/// What happens when the time has come.
#[derive(Debug)]
enum What {
    Wake(Arc<Thread>),
    Alarm(Weak<Process>),
}

static TIMERS: SpinLock<Timers<What>> = SpinLock::new(Timers::new());

fn set(time: u64, what: What) -> TimerId {
    let mut timers = TIMERS.lock();
    let (id, first) = timers.insert(time, what);
    if first {
        // Other CPUs may have set theirs for a later one: they will find nothing due.
        time::set_alarm(Some(time));
    }
    id
}

fn cancel(id: TimerId) {
    let removed = TIMERS.lock().remove(id);
    drop(removed);
}

/// Does what is due: in the interrupt of this CPU's alarm.
pub fn interrupt() {
    loop {
        let due = {
            let mut timers = TIMERS.lock();
            let due = timers.take_due(time::now());
            if due.is_none() {
                time::set_alarm(timers.first());
            }
            due
        };
        match due {
            None => return,
            Some(What::Wake(thread)) => thread::wake(&thread),
            Some(What::Alarm(process)) => {
                if let Some(process) = process.upgrade() {
                    ring(&process);
                }
            }
        }
    }
}

/// As [`scheduler::park`](crate::task::scheduler::park), but only until `deadline`, in nanoseconds
/// since boot.
pub fn park_until(deadline: u64) {
    let timer = set(deadline, What::Wake(current().share()));
    thread::park();
    cancel(timer);
}

/// Waits on `queue` until `condition` has a value, a signal comes, or it is `deadline`, in
/// nanoseconds since boot.
///
/// # Errors
///
/// `EINTR`, `ETIMEDOUT`.
pub fn wait<T>(
    queue: &WaitQueue,
    deadline: Option<u64>,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let Some(deadline) = deadline else {
        return Ok(queue.wait_interruptibly(condition)?);
    };
    let timer = set(deadline, What::Wake(current().share()));
    let result = queue.wait_interruptibly(|| {
        let late = || (time::now() >= deadline).then_some(None);
        condition().map(Some).or_else(late)
    });
    cancel(timer);
    result?.ok_or(Errno::ETIMEDOUT)
}

/// Sleeps until `deadline`, in nanoseconds since boot.
///
/// # Errors
///
/// [`Interrupted`].
pub fn sleep_until(deadline: u64) -> Result<(), Interrupted> {
    match wait::<()>(&WaitQueue::new(), Some(deadline), || None) {
        Err(Errno::ETIMEDOUT) => Ok(()),
        _ => Err(Interrupted),
    }
}

/// A timer that sends `SIGALRM`, once or again and again.
#[derive(Debug, Default)]
pub struct IntervalTimer {
    timer: Option<TimerId>,
    interval: u64,
}

impl IntervalTimer {
    /// How long until it expires next, and the interval after that, in nanoseconds; 0 for never.
    pub fn get(&self) -> (u64, u64) {
        let left = self
            .timer
            .map_or(0, |timer| timer.time.saturating_sub(time::now()).max(1));
        (left, self.interval)
    }

    fn stop(&mut self) {
        if let Some(timer) = self.timer.take() {
            cancel(timer);
        }
    }
}

/// Sets the timer of a process; 0 is never. Returns what [`IntervalTimer::get`] did before.
pub fn set_interval(process: &Arc<Process>, first: u64, interval: u64) -> (u64, u64) {
    let mut timer = process.real_timer.lock();
    let before = timer.get();
    timer.stop();
    timer.interval = interval;
    if first != 0 {
        let due = time::now().saturating_add(first);
        timer.timer = Some(set(due, What::Alarm(Arc::downgrade(process))));
    }
    before
}

fn ring(process: &Arc<Process>) {
    {
        let mut timer = process.real_timer.lock();
        let Some(expired) = timer.timer.take() else {
            return;
        };
        // Expirations that were missed are left out, but the beat stays.
        let late = time::now().saturating_sub(expired.time);
        if let Some(missed) = late.checked_div(timer.interval) {
            let steps = (missed + 1).saturating_mul(timer.interval);
            let next = expired.time.saturating_add(steps);
            timer.timer = Some(set(next, What::Alarm(Arc::downgrade(process))));
        }
    }
    // A standard signal is pending even if memory for its details is not to be had.
    signal::send(process, Info::kernel(Signal::SIGALRM)).unwrap_or(());
}

#[cfg(test)]
mod tests {
    use super::Timers;

    #[test]
    fn timers_expire_in_order() {
        let mut timers = Timers::new();
        assert_eq!(timers.first(), None);
        let (late, first) = timers.insert(30, 'c');
        assert!(first);
        assert!(timers.insert(10, 'a').1);
        assert!(!timers.insert(20, 'b').1);
        assert_eq!(timers.take_due(9), None);
        assert_eq!(
            [timers.take_due(25), timers.take_due(25)],
            [Some('a'), Some('b')]
        );
        assert_eq!(timers.take_due(25), None);
        assert_eq!(timers.remove(late), Some('c'));
        assert_eq!(timers.first(), None);
    }
}
