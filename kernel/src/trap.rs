//! What exceptions mean: page faults, memory errors and the way back to user mode, whatever the
//! CPU. `arch` tells what happened; this says what to do about it, by asking `mm` and `task`.

use alloc::sync::Arc;

use mm::{Access, Outcome, SegvCode, Victim, VirtualAddress};

use crate::arch::Registers;
use crate::memory::manager;
use crate::task::signal::{self, Fault, Info, Signal, code};
use crate::task::{Process, UserSpace, Work, clone, current, scheduler, timer, tree};
use crate::{init, ras};

/// What became of a fault in the running process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The access can be repeated.
    Resolved,
    /// It cannot: this is the signal for a program that made it.
    Signal(Info),
    /// It cannot because there is no memory.
    OutOfMemory,
}

/// Resolves a page fault of the running process. May sleep.
pub fn page_fault(address: u64, access: Access) -> Resolution {
    let Ok(space) = current().space() else {
        return Resolution::Signal(segv(SegvCode::NotMapped, address));
    };
    loop {
        match fault(&space, address, access) {
            Outcome::Resolved => return Resolution::Resolved,
            Outcome::Sigsegv(code) => return Resolution::Signal(segv(code, address)),
            Outcome::Sigbus(bus) => return Resolution::Signal(Info::memory(bus)),
            Outcome::Oom => return Resolution::OutOfMemory,
            Outcome::Retry => scheduler::yield_now(),
        }
    }
}

fn fault(space: &Arc<UserSpace>, address: u64, access: Access) -> Outcome {
    manager().fault(space.handle(), VirtualAddress(address), access)
}

fn segv(segv: SegvCode, address: u64) -> Info {
    Info::fault(Signal::SIGSEGV, segv as i32, address)
}

/// A page fault of the running program itself: resolved, or it gets a signal. `fault` is what the
/// CPU said.
pub fn user_fault(address: u64, access: Access, fault: Fault) {
    match page_fault(address, access) {
        Resolution::Resolved => {}
        Resolution::Signal(info) => signal::force(info, Some(fault)),
        // As for Linux's OOM killer, the one that needs memory it cannot have ends.
        Resolution::OutOfMemory => signal::force(Info::kernel(Signal::SIGKILL), None),
    }
}

/// The running program did what it may not, at `address`.
pub fn user_exception(signal: Signal, code: i32, address: u64, fault: Fault) {
    signal::force(Info::fault(signal, code, address), Some(fault));
}

/// An instruction that does not exist.
pub const ILLEGAL: (Signal, i32) = (Signal::SIGILL, code::ILLEGAL_OPCODE);
/// A breakpoint instruction.
pub const BREAKPOINT: (Signal, i32) = (Signal::SIGTRAP, code::BREAKPOINT);
/// An address that is not aligned.
pub const UNALIGNED: (Signal, i32) = (Signal::SIGBUS, code::ALIGNMENT);

/// Does what must be done before the running thread goes on in user mode. May sleep, and may not
/// return.
pub fn work(registers: &mut Registers) {
    let thread = current();
    if thread.work.has(Work::FIRST_PROGRAM) {
        init::execute(registers);
    }
    if thread.work.has(Work::MEMORY_FAILURE) {
        ras::finish();
    }
    if thread.work.has(Work::START) {
        clone::begin(&thread);
    }
    if thread.work.has(Work::RESCHEDULE) {
        scheduler::reschedule();
    }
    if thread.work.has(Work::SIGNAL) {
        signal::before_user(registers);
    }
}

/// A timer of this CPU is due.
pub fn alarm() {
    timer::interrupt();
}

/// Tells a process of memory that it lost, as [`mm::Machine::notify`] asks.
pub fn notify(victim: Victim) {
    let lives_there = |process: &Arc<Process>| {
        let space = process.space();
        space.is_some_and(|space| space.id() == victim.space)
    };
    let process = {
        let tree = tree().lock();
        tree.all()
            .map(|(_, process)| process)
            .find(|process| lives_there(process))
            .cloned()
    };
    if let Some(process) = process {
        // There always is room for a standard signal.
        signal::send(&process, Info::memory(victim.signal)).unwrap_or(());
    }
}
