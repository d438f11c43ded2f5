//! Threads of the host. Those that a test made itself wait and wake by `park` and `unpark`; those
//! that the kernel made run one at a time on each CPU, and hand it on by `switch`.

use std::cell::Cell;
use std::fmt;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Thread, current as this, park as sleep, park_timeout as sleep_for};
use std::time::Duration;

use super::cpu;
use crate::arch::{FpRegisters, Registers};
use crate::error::Result;
use crate::task;

/// Wakes one thread.
#[derive(Clone, Debug)]
pub struct Waker(Thread);

impl PartialEq for Waker {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Waker {
    /// Makes the thread's next or present [`park`] return.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// The waker of the running thread.
pub fn current() -> Waker {
    Waker(this())
}

/// Sleeps until a waker of this thread is used, or was used since the last sleep. May also
/// return without.
pub fn park() {
    sleep();
}

/// As [`park`], but only until `deadline`, in nanoseconds since boot.
pub fn park_until(deadline: u64) {
    let left = deadline.saturating_sub(super::time::now());
    sleep_for(Duration::from_nanos(left));
}

thread_local! {
    static SIGNAL: Cell<bool> = const { Cell::new(false) };
    static CURRENT: Cell<*const task::Thread> = const { Cell::new(ptr::null()) };
    static TLS: Cell<u64> = const { Cell::new(0) };
}

/// Whether a signal for the running thread waits to be delivered.
pub fn has_signal() -> bool {
    SIGNAL.get() || task::try_current().is_some_and(|thread| thread.work.has(task::Work::SIGNAL))
}

/// Makes [`has_signal`] say so.
pub fn set_signal(pending: bool) {
    SIGNAL.set(pending);
}

/// Wakes a thread of a process that may sleep.
pub fn wake(thread: &Arc<task::Thread>) {
    let sleeper = thread.state.sleeper.lock().expect("no test panicked here");
    if let Some(sleeper) = &*sleeper {
        sleeper.unpark();
    }
}

/// What [`set_current_pointer`] was given on this CPU, or null.
pub fn current_pointer() -> *const task::Thread {
    CURRENT.get()
}

/// Says which thread runs on this CPU. It must stay alive as long as it does.
pub fn set_current_pointer(thread: *const task::Thread) {
    CURRENT.set(thread);
}

/// TPIDR_EL0 of the running thread.
pub fn tls() -> u64 {
    TLS.get()
}

/// Sets TPIDR_EL0 of the running thread.
pub fn set_tls(value: u64) {
    TLS.set(value);
}

/// The CPU and the thread pointer that come with the turn.
type Turn = (usize, usize);

#[derive(Debug, Default)]
struct Baton {
    turn: Mutex<Option<Turn>>,
    passed: Condvar,
}

impl Baton {
    fn pass(&self, turn: Turn) {
        *self.turn.lock().expect("no test panicked here") = Some(turn);
        self.passed.notify_one();
    }

    fn wait(&self) {
        let turn = self.turn.lock().expect("no test panicked here");
        let mut turn = self
            .passed
            .wait_while(turn, |turn| turn.is_none())
            .expect("no test panicked here");
        let (cpu, thread) = turn.take().expect("it was just there");
        cpu::enter(cpu);
        set_current_pointer(ptr::with_exposed_provenance(thread));
    }
}

/// What a CPU keeps of a thread that does not run.
#[derive(Default)]
pub struct State {
    baton: Arc<Baton>,
    /// The thread of the host that a test has made this one, by [`State::attach`].
    sleeper: Mutex<Option<Thread>>,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("State")
    }
}

impl State {
    /// Of a thread that has a stack already: one that boots, and becomes an idle one.
    pub fn boot() -> Self {
        Self::default()
    }

    /// Of a thread of the kernel's that starts with `entry(argument)`, which must not return.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn kernel(entry: fn(usize), argument: usize) -> Result<Self> {
        let state = Self::default();
        let baton = Arc::clone(&state.baton);
        std::thread::spawn(move || {
            baton.wait();
            task::scheduler::started();
            entry(argument);
        });
        Ok(state)
    }

    /// Of a thread that starts in user mode. Here there is none: it never runs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn user(_registers: &Registers, _tls: u64, _fp: &FpRegisters) -> Result<Self> {
        Ok(Self::default())
    }

    /// Makes the calling thread of the host the one that a wake-up of this thread wakes.
    pub fn attach(&self) {
        *self.sleeper.lock().expect("no test panicked here") = Some(this());
    }
}

/// Gives the CPU of one thread to another. Returns when it was given back.
pub fn switch(from: &State, to: &State) {
    let turn = (cpu::id(), current_pointer().expose_provenance());
    let baton = Arc::clone(&from.baton);
    to.baton.pass(turn);
    baton.wait();
}
