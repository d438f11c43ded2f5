//! Signals.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use super::Arguments;
use super::time::read_duration;
use crate::arch::{Registers, time};
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::sync::WaitQueue;
use crate::task::process::{Process, find, find_thread};
use crate::task::signal::{
    Action, Detail, INFO_SIZE, Info, Signal, SignalSet, code, refresh, return_from_handler, send,
    send_to_group, send_to_thread, stack_bytes, stack_flags,
};
use crate::task::{AlternateStack, Pid, Thread, current, timer, tree};

/// The size of a set of signals in bytes.
const SET_SIZE: usize = 8;
/// The least size of a stack for handlers (`MINSIGSTKSZ` of arm64).
const LEAST_STACK: u64 = 5120;

fn check_size(size: usize) -> Result<()> {
    if size == SET_SIZE {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn read_set(address: UserAddress) -> Result<SignalSet> {
    address.read_u64().map(SignalSet)
}

/// A signal to send; 0 only asks whether it could be sent.
fn to_send(number: i32) -> Result<Option<Signal>> {
    match number {
        0 => Ok(None),
        number => Signal::new(number as u64).map(Some).ok_or(Errno::EINVAL),
    }
}

fn from_caller(signal: Signal, code: i32) -> Info {
    Info {
        signal,
        code,
        detail: Detail::Sender(current().process.id, 0),
    }
}

fn find_live(pid: i32) -> Result<Arc<Process>> {
    let id = Pid(u32::try_from(pid).map_err(|_| Errno::ESRCH)?);
    find(id)
        .or_else(|| find_thread(id).map(|thread| Arc::clone(&thread.process)))
        .ok_or(Errno::ESRCH)
}

/// Whether there is whom to signal is asked before whether there is such a signal.
pub(super) fn kill(a: Arguments) -> Result<u64> {
    let info = || -> Result<Option<Info>> {
        let signal = to_send(a.int(1))?;
        Ok(signal.map(|signal| from_caller(signal, code::USER)))
    };
    match a.int(0) {
        pid @ 1.. => {
            let process = find_live(pid)?;
            info()?.map_or(Ok(()), |info| send(&process, info))?;
        }
        -1 => kill_all(info()?)?,
        i32::MIN => return Err(Errno::ESRCH),
        group => {
            let group = match group {
                0 => tree().lock().group(current().process.id)?,
                group => Pid(group.unsigned_abs()),
            };
            if tree().lock().members(group).is_empty() {
                return Err(Errno::ESRCH);
            }
            if let Some(info) = info()? {
                send_to_group(group, info)?;
            }
        }
    }
    Ok(0)
}

/// Everyone but the first process and the caller.
fn kill_all(info: Option<Info>) -> Result<()> {
    let own = current().process.id;
    let others: Vec<_> = tree()
        .lock()
        .all()
        .filter(|(pid, _)| *pid != Pid::INIT && *pid != own)
        .map(|(_, process)| Arc::clone(process))
        .collect();
    if others.is_empty() {
        return Err(Errno::ESRCH);
    }
    for (process, info) in others.iter().zip(core::iter::repeat(info)) {
        if let Some(info) = info {
            // One that cannot take the signal does not keep the others from it.
            send(process, info).unwrap_or(());
        }
    }
    Ok(())
}

/// The thread with this number, which is one of a process's if that matters.
fn target(process: Option<i32>, id: i32) -> Result<Arc<Thread>> {
    if id <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let thread = find_thread(Pid(id as u32)).ok_or(Errno::ESRCH)?;
    match process {
        Some(process) if thread.process.id != Pid(process as u32) => Err(Errno::ESRCH),
        _ => Ok(thread),
    }
}

fn signal_thread(process: Option<i32>, id: i32, signal: i32) -> Result<u64> {
    let signal = to_send(signal)?;
    let thread = target(process, id)?;
    if let Some(signal) = signal {
        send_to_thread(&thread, from_caller(signal, code::TKILL))?;
    }
    Ok(0)
}

pub(super) fn tkill(a: Arguments) -> Result<u64> {
    signal_thread(None, a.int(0), a.int(1))
}

pub(super) fn tgkill(a: Arguments) -> Result<u64> {
    signal_thread(Some(a.int(0)), a.int(1), a.int(2))
}

/// What a program says about a signal that it sends to a process. It cannot say that it is from
/// the kernel, nor from `kill`, but to itself.
fn queued(info: UserAddress, to: i32) -> Result<[u8; INFO_SIZE]> {
    let bytes = info.read::<INFO_SIZE>()?;
    // Which signal it says it is does not matter.
    let code = Info::from_bytes(Signal::SIGKILL, &bytes).code;
    let forged = code >= 0 || code == code::TKILL;
    if forged && u32::try_from(to) != Ok(current().process.id.0) {
        return Err(Errno::EPERM);
    }
    Ok(bytes)
}

pub(super) fn rt_sigqueueinfo(a: Arguments) -> Result<u64> {
    let bytes = queued(a.address(2), a.int(0))?;
    let process = find_live(a.int(0))?;
    if let Some(signal) = to_send(a.int(1))? {
        send(&process, Info::from_bytes(signal, &bytes))?;
    }
    Ok(0)
}

pub(super) fn rt_tgsigqueueinfo(a: Arguments) -> Result<u64> {
    if a.int(0) <= 0 || a.int(1) <= 0 {
        return Err(Errno::EINVAL);
    }
    let bytes = queued(a.address(3), a.int(0))?;
    let thread = target(Some(a.int(0)), a.int(1))?;
    if let Some(signal) = to_send(a.int(2))? {
        send_to_thread(&thread, Info::from_bytes(signal, &bytes))?;
    }
    Ok(0)
}

pub(super) fn rt_sigaction(a: Arguments) -> Result<u64> {
    check_size(a.size(3))?;
    let signal = Signal::new(a.int(0) as u64).ok_or(Errno::EINVAL)?;
    let new = match a.address(1) {
        address if address.is_null() => None,
        address => Some(Action::from_bytes(&address.read()?)),
    };
    if new.is_some() && signal.is_absolute() {
        return Err(Errno::EINVAL);
    }
    let old = {
        let process = &current().process;
        let mut signals = process.signals.lock();
        let old = signals.actions.get(signal);
        if let Some(new) = new {
            signals.actions.set(signal, new);
            if signals.actions.ignores(signal) {
                // POSIX: one that is pending is discarded.
                let set = SignalSet::of(signal);
                signals.pending.forget(set);
                for thread in &*process.threads.lock() {
                    thread.signals.lock().pending.forget(set);
                }
            }
        }
        old
    };
    a.address(2).write_if_wanted(&old.to_bytes())?;
    Ok(0)
}

pub(super) fn rt_sigprocmask(a: Arguments) -> Result<u64> {
    check_size(a.size(3))?;
    let thread = current();
    let old = thread.signals.lock().mask;
    if !a.address(1).is_null() {
        let set = read_set(a.address(1))?;
        let new = match a.half(0) {
            linux::SIG_BLOCK => old.and(set),
            linux::SIG_UNBLOCK => old.without(set),
            linux::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        thread.set_mask(new, false);
    }
    a.address(2).write_if_wanted(&old.0.to_le_bytes())?;
    Ok(0)
}

pub(super) fn rt_sigpending(a: Arguments) -> Result<u64> {
    if a.size(1) > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let thread = current();
    let set = {
        let signals = thread.process.signals.lock();
        let own = thread.signals.lock();
        own.pending
            .set()
            .and(signals.pending.set())
            .common(own.mask)
    };
    a.address(0)
        .write(&set.0.to_le_bytes()[..a.size(1)])
        .map(|()| 0)
}

pub(super) fn rt_sigsuspend(a: Arguments) -> Result<u64> {
    check_size(a.size(1))?;
    let mask = read_set(a.address(0))?;
    current().set_mask(mask, true);
    WaitQueue::new().wait_interruptibly(|| None)?;
    Ok(0)
}

/// Takes a pending signal of `wanted`.
fn take(thread: &Thread, wanted: SignalSet) -> Option<Info> {
    let mut signals = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    let info = own.pending.take(wanted);
    info.or_else(|| signals.pending.take(wanted))
}

pub(super) fn rt_sigtimedwait(a: Arguments) -> Result<u64> {
    check_size(a.size(3))?;
    let wanted = read_set(a.address(0))?.without(SignalSet::ABSOLUTE);
    let deadline = match a.address(2) {
        address if address.is_null() => None,
        address => Some(time::now().saturating_add(read_duration(address)?)),
    };
    let thread = current();
    let info = match take(&thread, wanted) {
        Some(info) => info,
        None => {
            // While it waits they are not blocked, so that they wake it; and it takes them before
            // they can be delivered.
            let mask = thread.signals.lock().mask;
            thread.set_mask(mask.without(wanted), false);
            let waited = timer::wait(&WaitQueue::new(), deadline, || take(&thread, wanted));
            let taken = waited.or_else(|errno| take(&thread, wanted).ok_or(errno));
            thread.set_mask(mask, false);
            taken.map_err(|errno| match errno {
                Errno::ETIMEDOUT => Errno::EAGAIN,
                other => other,
            })?
        }
    };
    refresh(&thread);
    a.address(1).write_if_wanted(&info.to_bytes())?;
    Ok(info.signal.number().into())
}

/// Brings back all registers, X0 among them.
pub(super) fn rt_sigreturn(registers: &mut Registers) -> Result<u64> {
    return_from_handler(registers);
    Ok(registers.x[0])
}

pub(super) fn sigaltstack(a: Arguments, sp: u64) -> Result<u64> {
    let thread = current();
    let old = thread.signals.lock().stack;
    if !a.address(0).is_null() {
        let new = read_stack(a.address(0))?;
        if old.contains(sp) {
            return Err(Errno::EPERM);
        }
        thread.signals.lock().stack = new;
    }
    let in_use = if old.contains(sp) {
        linux::SS_ONSTACK
    } else {
        0
    };
    let bytes = stack_bytes(&old, stack_flags(&old) | in_use);
    a.address(1).write_if_wanted(&bytes)?;
    Ok(0)
}

fn read_stack(address: UserAddress) -> Result<AlternateStack> {
    let (base, length) = (address.read_u64()?, address.offset(16).read_u64()?);
    let flags = address.offset(8).read_u32()?;
    let disarm = flags & linux::SS_AUTODISARM != 0;
    match flags & !linux::SS_AUTODISARM {
        linux::SS_DISABLE => Ok(AlternateStack {
            disarm,
            ..AlternateStack::default()
        }),
        0 | linux::SS_ONSTACK if length < LEAST_STACK => Err(Errno::ENOMEM),
        0 | linux::SS_ONSTACK => Ok(AlternateStack {
            base,
            length,
            disarm,
        }),
        _ => Err(Errno::EINVAL),
    }
}
