//! How threads and processes end.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::arch::thread::wake;
use crate::memory::UserAddress;
use crate::ras;
use crate::task::signal::{Detail, Info, Signal, code, send, send_to_group};
use crate::task::{Pid, Process, Thread, Work, current, futex, id, scheduler, timer, tree};

/// How a process ended, in the format of `wait`: the exit code in bits 8 to 15, or the signal in
/// bits 0 to 6 and "core dumped" in bit 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    /// It called `exit`.
    pub const fn exit(code: u8) -> Self {
        Self((code as u32) << 8)
    }

    /// A signal ended it.
    pub fn killed(signal: Signal, dumped: bool) -> Self {
        Self(u32::from(signal.number()) | u32::from(dumped) << 7)
    }

    /// What `wait` stores.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// `si_code` and `si_status` of a `SIGCHLD`.
    pub fn code_and_status(self) -> (i32, i32) {
        match self.0 & 0x7f {
            0 => (code::CHILD_EXITED, (self.0 >> 8 & 0xff) as i32),
            signal if self.0 & 0x80 != 0 => (code::CHILD_DUMPED, signal as i32),
            signal => (code::CHILD_KILLED, signal as i32),
        }
    }
}

/// Why threads of a process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process ends.
    Process(Status),
    /// This thread calls `execve`: the others go.
    AllBut(Pid),
    /// This thread writes a core dump, after which the process ends: the others wait.
    Dump(Pid),
}

/// Makes all threads of a process end, unless they do already. The running one has to see to
/// itself.
pub fn end_process(process: &Process, status: Status) {
    {
        let mut signals = process.signals.lock();
        if let Some(Ending::Process(_)) = signals.ending {
            return;
        }
        signals.ending = Some(Ending::Process(status));
    }
    alarm_threads(process);
}

/// Makes the other threads of the running one's process end, and waits until they have. Returns
/// whether this one may go on.
pub fn end_other_threads() -> bool {
    let thread = current();
    let process = &thread.process;
    {
        let mut signals = process.signals.lock();
        if signals.ending.is_some() {
            return false;
        }
        signals.ending = Some(Ending::AllBut(thread.id()));
    }
    alarm_threads(process);
    process.departures.wait_until(|| {
        let alone = process.threads.lock().len() == 1;
        let killed = matches!(process.signals.lock().ending, Some(Ending::Process(_)));
        (alone || killed).then_some(())
    });
    let mut signals = process.signals.lock();
    let goes_on = matches!(signals.ending, Some(Ending::AllBut(_)));
    if goes_on {
        signals.ending = None;
    }
    goes_on
}

/// Makes all threads look at why they must end.
pub(in crate::task) fn alarm_threads(process: &Process) {
    process.continued.wake_all();
    process.departures.wake_all();
    let threads = process.threads.lock().clone();
    for thread in &threads {
        thread.work.set(Work::SIGNAL);
        wake(thread);
        scheduler::kick(thread);
    }
}

/// Ends the running thread, and its process if it is the last.
pub fn exit_thread(status: Status) -> ! {
    {
        let thread = current().share();
        leave(&thread, status);
    }
    scheduler::exit()
}

/// All of a thread's end but giving up the CPU.
pub(in crate::task) fn leave(thread: &Arc<Thread>, status: Status) {
    release_futexes(thread);
    let process = Arc::clone(&thread.process);
    *thread.space.lock() = None;
    crate::arch::space::activate(None);
    process
        .runtime
        .fetch_add(thread.entity.runtime(), Ordering::Relaxed);
    let last = {
        let mut threads = process.threads.lock();
        threads.retain(|other| !Arc::ptr_eq(other, thread));
        threads.is_empty()
    };
    if thread.id() != process.id {
        id::free(thread.id());
    }
    process.departures.wake_all();
    if last {
        let ending = process.signals.lock().ending;
        let status = match ending {
            Some(Ending::Process(status)) => status,
            _ => status,
        };
        finish(&process, status);
    }
    ras::finish_last();
}

/// Tells those who wait for futexes of the thread that it ends.
pub fn release_futexes(thread: &Thread) {
    let head = thread.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        futex::release_robust(UserAddress(head), thread.id());
    }
    let address = UserAddress(thread.clear_on_exit.swap(0, Ordering::Relaxed));
    if !address.is_null() && address.write(&0u32.to_le_bytes()).is_ok() {
        // Nobody can be told of an address that just went away.
        futex::wake(address, true, 1, u32::MAX).unwrap_or(0);
    }
}

/// The end of a process whose threads have ended.
///
/// # Panics
///
/// If it is the first: there is nobody to start others.
fn finish(process: &Arc<Process>, status: Status) {
    assert!(
        process.id != Pid::INIT,
        "Attempted to kill init! exitcode={:#010x}",
        status.word()
    );
    timer::set_interval(process, 0, 0);
    let files = process.files.lock().take();
    drop(files);
    let space = process.space.lock().take();
    drop(space);
    *process.executable.lock() = None;
    process.borrowed.give_back();

    let stopped = |process: &Arc<Process>| process.signals.lock().stopped;
    let farewell = tree().lock().exit(process.id, status, stopped);
    for group in farewell.orphaned {
        for signal in [Signal::SIGHUP, Signal::SIGCONT] {
            // A group that has gone meanwhile needs no signal.
            send_to_group(group, Info::kernel(signal)).unwrap_or(());
        }
    }
    if let Some(init) = farewell.new_parent {
        send(&init, Info::kernel(Signal::SIGCHLD)).unwrap_or(());
        init.children.wake_all();
    }
    match farewell.parent {
        Some(parent) => tell_parent(process, &parent, status),
        None => reap(process.id),
    }
}

fn tell_parent(process: &Process, parent: &Arc<Process>, status: Status) {
    let is_child_signal = process.exit_signal == Signal::SIGCHLD.number();
    let unwanted = is_child_signal && parent.signals.lock().actions.reaps_children();
    if unwanted {
        reap(process.id);
    }
    if let Some(signal) = Signal::new(process.exit_signal.into()) {
        let (code, value) = status.code_and_status();
        let info = Info {
            signal,
            code,
            detail: Detail::Child(process.id, 0, value),
        };
        // There is always room for a standard signal, and a parent that chose a real-time one
        // whose queue is full still finds the child when it waits.
        send(parent, info).unwrap_or(());
    }
    parent.children.wake_all();
}

/// Forgets a process that has ended.
fn reap(pid: Pid) {
    let freed = tree().lock().remove(pid);
    freed.into_iter().for_each(id::free);
}
