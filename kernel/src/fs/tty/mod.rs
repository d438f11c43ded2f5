//! Terminals.
//!
//! Bytes that arrive go through [`Tty::arrive`] (an interrupt handler may call it) to a thread in
//! [`Tty::serve`], which edits, shows and signals; reads take what it has finished. So no signal
//! is sent from an interrupt.
//!
//! | module | what it is |
//! |---|---|
//! | `termios` | what programs set |
//! | `discipline` | what becomes of each byte that is typed |
//! | `jobs` | sessions, groups and signals, as far as a terminal needs them |
//! | `control` | `ioctl` |
//! | `device` | opening a terminal |

mod control;
mod device;
mod discipline;
mod jobs;
mod termios;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Debug;

pub use self::device::{CurrentTerminal, TerminalDevice};
pub use self::discipline::{Discipline, Effects};
pub use self::jobs::{Caller, Jobs, Processes};
pub use self::termios::{Input, Key, Local, Output, Termios, WindowSize};
use super::{FileOperations, OpenFlags, Readiness};
use crate::arch::time;
use crate::error::{Errno, Result};
use crate::memory::{Sink, Source, UserAddress};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::Pid;
use crate::task::signal::Signal;

/// How many bytes that arrived are kept until the serving thread takes them.
const ARRIVALS: usize = 256;
/// How much output is processed at a time, in bytes.
const CHUNK: usize = 256;
/// A tenth of a second, in nanoseconds.
const TENTH: u64 = 100_000_000;

/// Where a terminal's output goes.
pub trait Line: Debug + Send + Sync {
    /// Sends bytes; may wait until they are sent.
    fn send(&self, bytes: &[u8]);
}

/// A terminal.
#[derive(Debug)]
pub struct Tty {
    line: Arc<dyn Line>,
    jobs: Arc<dyn Jobs>,
    state: SpinLock<State>,
    arrivals: SpinLock<Arrivals>,
    /// Whoever waits for input, and the serving thread.
    queue: WaitQueue,
}

#[derive(Debug)]
struct State {
    discipline: Discipline,
    window: WindowSize,
    /// Whose controlling terminal it is, and the group that may use it.
    owner: Option<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    session: Pid,
    foreground: Pid,
}

#[derive(Debug)]
struct Arrivals {
    bytes: [u8; ARRIVALS],
    count: usize,
}

static TERMINALS: SpinLock<Vec<Weak<Tty>>> = SpinLock::new(Vec::new());

fn terminals() -> Vec<Arc<Tty>> {
    let terminals = TERMINALS.lock();
    terminals.iter().filter_map(Weak::upgrade).collect()
}

/// The controlling terminal of a session.
pub fn of_session(session: Pid) -> Option<Arc<Tty>> {
    terminals()
        .into_iter()
        .find(|tty| tty.owner().is_some_and(|owner| owner.session == session))
}

/// A session has lost its leader: its terminal is free, and those who used it are told.
pub fn session_ended(session: Pid) {
    if let Some(tty) = of_session(session) {
        tty.release();
    }
}

impl Tty {
    /// A terminal on a line.
    pub fn new(line: Arc<dyn Line>, jobs: Arc<dyn Jobs>) -> Arc<Self> {
        let tty = Arc::new(Self {
            line,
            jobs,
            state: SpinLock::new(State {
                discipline: Discipline::default(),
                window: WindowSize::default(),
                owner: None,
            }),
            arrivals: SpinLock::new(Arrivals {
                bytes: [0; ARRIVALS],
                count: 0,
            }),
            queue: WaitQueue::new(),
        });
        let mut terminals = TERMINALS.lock();
        terminals.retain(|terminal| terminal.strong_count() > 0);
        terminals.push(Arc::downgrade(&tty));
        drop(terminals);
        tty
    }

    fn owner(&self) -> Option<Owner> {
        self.state.lock().owner
    }

    /// Takes bytes from the line, for the thread that serves. Bytes for which there is no room
    /// are lost, as on any line.
    pub fn arrive(&self, bytes: &[u8]) {
        let mut arrivals = self.arrivals.lock();
        let start = arrivals.count;
        let count = bytes.len().min(ARRIVALS - start);
        arrivals.bytes[start..start + count].copy_from_slice(&bytes[..count]);
        arrivals.count += count;
        drop(arrivals);
        self.queue.wake_all();
    }

    /// Waits for bytes that arrived, and does what they ask for. A thread of the kernel's calls
    /// this again and again.
    pub fn serve(&self) {
        let (bytes, count) = self.queue.wait_until(|| {
            let mut arrivals = self.arrivals.lock();
            let count = core::mem::take(&mut arrivals.count);
            (count > 0).then_some((arrivals.bytes, count))
        });
        for byte in &bytes[..count] {
            self.receive(*byte);
        }
    }

    fn receive(&self, byte: u8) {
        let mut state = self.state.lock();
        let effects = state.discipline.receive(byte);
        let foreground = state.owner.map(|owner| owner.foreground);
        drop(state);
        if !effects.echo.is_empty() {
            self.line.send(&effects.echo);
        }
        if let (Some(signal), Some(group)) = (effects.signal, foreground) {
            self.jobs.signal(group, signal);
        }
        if effects.wake {
            self.queue.wake_all();
        }
    }

    /// Gives the terminal to the caller's session, whose leader it is.
    ///
    /// # Errors
    ///
    /// `EPERM`: it does not lead a session, or one of the two is taken.
    fn acquire(&self) -> Result<()> {
        let caller = self.jobs.caller();
        let mut state = self.state.lock();
        if let Some(owner) = state.owner {
            let same = owner.session == caller.session;
            return if same { Ok(()) } else { Err(Errno::EPERM) };
        }
        drop(state);
        if !caller.is_leader || of_session(caller.session).is_some() {
            return Err(Errno::EPERM);
        }
        state = self.state.lock();
        if state.owner.is_some() {
            return Err(Errno::EPERM);
        }
        state.owner = Some(Owner {
            session: caller.session,
            foreground: caller.group,
        });
        Ok(())
    }

    /// Takes the terminal from its session.
    fn release(&self) {
        let owner = self.state.lock().owner.take();
        if let Some(owner) = owner {
            self.jobs.signal(owner.foreground, Signal::SIGHUP);
            self.jobs.signal(owner.foreground, Signal::SIGCONT);
        }
    }

    /// Stops a caller that is in the background of this terminal's session.
    ///
    /// # Errors
    ///
    /// `EINTR`: the caller has a signal to take, and tries again later. `EIO`: it cannot be
    /// stopped.
    fn check_foreground(&self, signal: Signal) -> Result<()> {
        let Some(owner) = self.owner() else {
            return Ok(());
        };
        let caller = self.jobs.caller();
        if owner.session != caller.session || owner.foreground == caller.group {
            return Ok(());
        }
        if self.jobs.ignores(signal) {
            // Output of someone who does not mind goes through; input does not.
            return if signal == Signal::SIGTTOU {
                Ok(())
            } else {
                Err(Errno::EIO)
            };
        }
        if caller.is_orphaned {
            return Err(Errno::EIO);
        }
        self.jobs.signal(caller.group, signal);
        Err(Errno::EINTR)
    }

    /// Waits for input, for a read of at most `most` bytes, as the settings say.
    fn wait_for_input(&self, most: usize, flags: OpenFlags) -> Result<()> {
        let termios = self.state.lock().discipline.termios();
        let tenths = u64::from(termios.key(Key::Time));
        let minimum = usize::from(termios.key(Key::Minimum));
        let canonical = termios.local.contains(Local::CANONICAL);
        if flags.contains(OpenFlags::NON_BLOCKING) {
            let nothing = !self.state.lock().discipline.is_readable();
            return if nothing { Err(Errno::EAGAIN) } else { Ok(()) };
        }
        if !canonical && minimum == 0 {
            let deadline = time::now() + tenths * TENTH;
            self.queue
                .wait_with_deadline(deadline, || self.has_input(1).then_some(()))?;
            return Ok(());
        }
        let wanted = if canonical { 1 } else { minimum.min(most) };
        if canonical || tenths == 0 {
            self.queue
                .wait_interruptibly(|| self.has_input(wanted).then_some(()))?;
            return Ok(());
        }
        // The time runs from the first byte on, and anew from each.
        self.queue
            .wait_interruptibly(|| self.has_input(1).then_some(()))?;
        loop {
            let before = self.state.lock().discipline.available();
            if before >= wanted {
                return Ok(());
            }
            let deadline = time::now() + tenths * TENTH;
            let more = self
                .queue
                .wait_with_deadline(deadline, || self.has_input(before + 1).then_some(()))?;
            if more.is_none() {
                return Ok(());
            }
        }
    }

    fn has_input(&self, wanted: usize) -> bool {
        let discipline = &self.state.lock().discipline;
        if discipline.termios().local.contains(Local::CANONICAL) {
            discipline.is_readable()
        } else {
            discipline.available() >= wanted
        }
    }
}

impl FileOperations for Tty {
    fn read(&self, _: u64, sink: &mut Sink<'_>, flags: OpenFlags) -> Result<usize> {
        self.check_foreground(Signal::SIGTTIN)?;
        let most = sink.left();
        if most == 0 {
            return Ok(0);
        }
        self.wait_for_input(most, flags)?;
        let bytes = self.state.lock().discipline.read(most);
        match sink.put(&bytes) {
            Err(stopped) if stopped.done == 0 => Err(stopped.errno()),
            Err(stopped) => Ok(stopped.done),
            Ok(()) => Ok(bytes.len()),
        }
    }

    fn write(&self, _: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        let termios = self.state.lock().discipline.termios();
        if termios.local.contains(Local::STOP_OUTPUT) {
            self.check_foreground(Signal::SIGTTOU)?;
        }
        let mut done = 0;
        while source.left() > 0 {
            let mut chunk = [0; CHUNK];
            let count = source.left().min(CHUNK);
            let taken = source.take(&mut chunk[..count]);
            let count = taken.map_or_else(|stopped| stopped.done, |()| count);
            let mut output = Vec::with_capacity(2 * CHUNK);
            for byte in &chunk[..count] {
                termios.show(*byte, &mut output);
            }
            self.line.send(&output);
            done += count;
            match taken {
                Err(stopped) if done == 0 => return Err(stopped.errno()),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(done)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::WRITABLE;
        ready.set(Readiness::READABLE, self.has_input(1));
        ready
    }

    fn waiters(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn control(&self, request: u32, argument: UserAddress) -> Result<u64> {
        control::control(self, request, argument)
    }
}

#[cfg(test)]
mod tests;
