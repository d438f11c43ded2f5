//! Processes that stop and continue: job control.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;

use crate::arch::thread::wake;
use crate::task::signal::{Detail, Info, Signal, code, send};
use crate::task::{Event, Process, Work, scheduler, tree};

/// Stops a process by `signal`, which was taken when it had been continued `continuations` times.
/// Its threads stop on their way to user mode.
pub(super) fn stop(process: &Arc<Process>, signal: Signal, continuations: u32) {
    // The terminal's stops do not apply where nobody could continue the process.
    if signal != Signal::SIGSTOP && tree().lock().in_orphaned_group(process.id) {
        return;
    }
    {
        let mut signals = process.signals.lock();
        if signals.stopped || signals.ending.is_some() || signals.continuations != continuations {
            return;
        }
        signals.stopped = true;
    }
    let threads = process.threads.lock().clone();
    for thread in &threads {
        thread.work.set(Work::SIGNAL);
        wake(thread);
        scheduler::kick(thread);
    }
    tell_parent(process, Event::Stopped(signal.number()));
}

/// Lets the threads of a process go on that was stopped.
pub(super) fn resume(process: &Arc<Process>) {
    process.continued.wake_all();
    tell_parent(process, Event::Continued);
}

/// Waits while the process is stopped and does not end.
pub(super) fn wait(process: &Process) {
    process.continued.wait_until(|| {
        let signals = process.signals.lock();
        (!signals.stopped || signals.ending.is_some()).then_some(())
    });
}

fn tell_parent(process: &Arc<Process>, event: Event) {
    let Some(parent) = tree().lock().change(process.id, event) else {
        return;
    };
    let (code, status) = match event {
        Event::Stopped(signal) => (code::CHILD_STOPPED, signal),
        _ => (code::CHILD_CONTINUED, Signal::SIGCONT.number()),
    };
    let action = parent.signals.lock().actions.get(Signal::SIGCHLD);
    if !action.has(linux::SA_NOCLDSTOP) {
        let info = Info {
            signal: Signal::SIGCHLD,
            code,
            detail: Detail::Child(process.id, 0, status.into()),
        };
        // A standard signal always finds room.
        send(&parent, info).unwrap_or(());
    }
    parent.children.wake_all();
}
