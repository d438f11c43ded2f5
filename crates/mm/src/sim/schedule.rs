//! Several CPUs as threads of which one runs at a time. Who runs next is decided at every call of
//! the machine and at every lock, inside operations; so a seed reproduces an interleaving.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::vec::Vec;

use super::Random;
use super::machine::locked;

/// On average, one in so many points gives way to another CPU.
const PATIENCE: u32 = 12;
/// Turns without an operation that ends, after which no CPU gets on.
const TURNS: u32 = 200_000;

/// The CPUs, and whose turn it is.
pub(super) struct Schedule {
    seed: u64,
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

struct State {
    random: Random,
    running: usize,
    ended: Vec<bool>,
    /// Turns since an operation ended.
    fruitless: u32,
}

/// A CPU that this thread is, until it is dropped.
struct Cpu {
    schedule: Arc<Schedule>,
    number: usize,
    random: Random,
}

std::thread_local! {
    static CPU: RefCell<Option<Cpu>> = const { RefCell::new(None) };
}

/// Where another CPU may get its turn.
pub(crate) fn point() {
    with_cpu(|cpu| {
        if cpu.random.below(PATIENCE) == 0 {
            cpu.give_way();
        }
    });
}

/// Where this CPU cannot go on until another one has.
pub(crate) fn wait() {
    if with_cpu(Cpu::give_way).is_none() {
        // A thread like any other: the one that it waits for may not be running.
        std::thread::yield_now();
    }
}

/// An operation of this CPU has ended.
pub(super) fn ended_operation() {
    with_cpu(|cpu| locked(&cpu.schedule.state).fruitless = 0);
}

/// Acts as the CPU that this thread is, if it is one and nothing is wrong.
fn with_cpu<R>(act: impl FnOnce(&mut Cpu) -> R) -> Option<R> {
    if std::thread::panicking() {
        return None;
    }
    CPU.with_borrow_mut(|cpu| cpu.as_mut().map(act))
}

impl Schedule {
    /// So many CPUs. CPU 0 comes first.
    pub(super) fn new(seed: u64, cpus: usize) -> Arc<Self> {
        Arc::new(Self {
            seed,
            state: Mutex::new(State {
                random: Random(seed),
                running: 0,
                ended: std::vec![false; cpus],
                fruitless: 0,
            }),
            turns: (0..cpus).map(|_| Condvar::new()).collect(),
        })
    }

    /// Runs `program` as CPU `number` of those, on this thread. Every CPU must be run.
    pub(super) fn run<R>(self: &Arc<Self>, number: usize, program: impl FnOnce() -> R) -> R {
        /// Lets the others go on, also if the program panics.
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                if let Some(cpu) = CPU.take() {
                    cpu.end();
                }
            }
        }
        let cpu = Cpu {
            schedule: Arc::clone(self),
            number,
            random: Random(self.seed ^ (number as u64 + 1)),
        };
        cpu.await_turn(locked(&self.state));
        CPU.set(Some(cpu));
        let _end = End;
        program()
    }
}

impl State {
    /// A CPU that has not ended, and is not `but` unless that is the only one.
    fn choose(&mut self, but: usize) -> Option<usize> {
        let others = (0..self.ended.len()).filter(|cpu| !self.ended[*cpu] && *cpu != but);
        let others: Vec<usize> = others.collect();
        if others.is_empty() {
            return (!self.ended[but]).then_some(but);
        }
        Some(others[self.random.below(others.len() as u32) as usize])
    }
}

impl Cpu {
    fn give_way(&mut self) {
        let mut state = locked(&self.schedule.state);
        state.fruitless += 1;
        if state.fruitless > TURNS {
            drop(state);
            panic!("no CPU gets on");
        }
        if let Some(next) = state.choose(self.number)
            && next != self.number
        {
            state.running = next;
            self.schedule.turns[next].notify_one();
            self.await_turn(state);
        }
    }

    fn await_turn(&self, mut state: MutexGuard<'_, State>) {
        while state.running != self.number {
            state = self.schedule.turns[self.number]
                .wait(state)
                .expect("nobody panics with the state locked");
        }
    }

    fn end(self) {
        let mut state = locked(&self.schedule.state);
        state.ended[self.number] = true;
        if let Some(next) = state.choose(self.number) {
            state.running = next;
            self.schedule.turns[next].notify_one();
        }
    }
}
