//! From a sender to a thread that will look.

use alloc::sync::Arc;

use crate::arch::thread::wake;
use crate::error::{Errno, Result};
use crate::sync::SpinGuard;
use crate::task::exit::{Ending, Status, end_process};
use crate::task::signal::stop::resume;
use crate::task::signal::{Action, Disposition, Fault, Info, Signal, SignalSet};
use crate::task::{Pid, Process, ProcessSignals, Thread, Work, current, scheduler, tree};

/// Sends a signal to a process: some thread that does not block it will take it.
///
/// # Errors
///
/// `EAGAIN`: too many real-time signals are pending.
pub fn send(process: &Arc<Process>, info: Info) -> Result<()> {
    send_to(process, None, info)
}

/// Sends a signal to one thread.
///
/// # Errors
///
/// `EAGAIN`: too many real-time signals are pending.
pub fn send_to_thread(thread: &Arc<Thread>, info: Info) -> Result<()> {
    send_to(&thread.process, Some(thread), info)
}

/// Sends a signal to all members of a process group.
///
/// # Errors
///
/// `ESRCH`: it has none. The first error, if it could be sent to none.
pub fn send_to_group(group: Pid, info: Info) -> Result<()> {
    let members = tree().lock().members(group);
    let mut result = Err(Errno::ESRCH);
    for process in members {
        let sent = send(&process, info);
        if sent.is_ok() || result == Err(Errno::ESRCH) {
            result = sent;
        }
    }
    result
}

/// Sends the running thread a signal for what it just did. It cannot be blocked or ignored: a
/// thread that tries ends.
pub fn force(info: Info, fault: Option<Fault>) {
    let thread = current().share();
    {
        let mut signals = thread.process.signals.lock();
        let mut own = thread.signals.lock();
        let ignored = signals.actions.ignores(info.signal);
        if own.mask.has(info.signal) || ignored {
            signals.actions.set(info.signal, Action::default());
            own.mask = own.mask.without(SignalSet::of(info.signal));
        }
        own.fault = fault;
    }
    // Those that are forced are standard signals, for which there always is room.
    send_to_thread(&thread, info).unwrap_or(());
}

fn send_to(process: &Arc<Process>, target: Option<&Arc<Thread>>, info: Info) -> Result<()> {
    let mut signals = process.signals.lock();
    // A core dump ends early when its process is killed.
    let is_dumped = matches!(signals.ending, Some(Ending::Dump(_)));
    if signals.ending.is_some() && !(is_dumped && info.signal == Signal::SIGKILL) {
        return Ok(());
    }
    if info.signal == Signal::SIGKILL {
        if process.id != Pid::INIT {
            drop(signals);
            end_process(process, Status::killed(Signal::SIGKILL, false));
        }
        return Ok(());
    }
    if info.signal == Signal::SIGCONT {
        signals = continue_process(process, signals);
    } else if SignalSet::STOPS.has(info.signal) {
        forget(process, &mut signals, SignalSet::of(Signal::SIGCONT));
    }
    if is_dropped(process, &signals, target, info.signal) {
        return Ok(());
    }
    match target {
        Some(thread) => thread.signals.lock().pending.push(info)?,
        None => signals.pending.push(info)?,
    }
    let taker = match target {
        Some(thread) => Some(Arc::clone(thread)).filter(|thread| takes(thread, info.signal)),
        None => process
            .threads
            .lock()
            .iter()
            .find(|thread| takes(thread, info.signal))
            .cloned(),
    };
    // The flag is set under the lock under which it is cleared.
    if let Some(taker) = &taker {
        taker.work.set(Work::SIGNAL);
    }
    drop(signals);
    if let Some(taker) = &taker {
        wake(taker);
        scheduler::kick(taker);
    }
    Ok(())
}

fn takes(thread: &Thread, signal: Signal) -> bool {
    !thread.signals.lock().mask.has(signal)
}

/// Whether nobody would ever see the signal: it is ignored, and not blocked by someone who might
/// change that before it is unblocked. The first process has no default actions.
fn is_dropped(
    process: &Process,
    signals: &ProcessSignals,
    target: Option<&Arc<Thread>>,
    signal: Signal,
) -> bool {
    let disposition = signals.actions.get(signal).disposition(signal);
    let ignored = match disposition {
        Disposition::Ignore => !signal.is_absolute(),
        Disposition::Handle => false,
        _ => process.id == Pid::INIT && target.is_none(),
    };
    ignored
        && match target {
            Some(thread) => takes(thread, signal),
            None => process
                .threads
                .lock()
                .iter()
                .all(|thread| takes(thread, signal)),
        }
}

/// Forgets pending signals of a process and its threads.
fn forget(process: &Process, signals: &mut ProcessSignals, set: SignalSet) {
    signals.pending.forget(set);
    for thread in &*process.threads.lock() {
        thread.signals.lock().pending.forget(set);
    }
}

/// `SIGCONT` continues a process when it is sent, whatever becomes of it then.
fn continue_process<'a>(
    process: &'a Arc<Process>,
    mut signals: SpinGuard<'a, ProcessSignals>,
) -> SpinGuard<'a, ProcessSignals> {
    forget(process, &mut signals, SignalSet::STOPS);
    signals.continuations = signals.continuations.wrapping_add(1);
    if !core::mem::take(&mut signals.stopped) {
        return signals;
    }
    drop(signals);
    resume(process);
    process.signals.lock()
}
