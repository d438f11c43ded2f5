//! What a thread does about signals on its way back to user mode.

use linux_raw_sys::general as linux;

use crate::arch::{FpRegisters, Registers, fp, user};
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::coredump;
use crate::task::exit::{Ending, Status, end_process, exit_thread};
use crate::task::signal::frame::{self, FRAME_SIZE, Saved};
use crate::task::signal::{Action, Disposition, Info, Signal, SignalSet, force, stop};
use crate::task::{AlternateStack, Current, Pid, Thread, Work, current};

/// A system call that a signal interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Its first argument, where its result is now.
    pub argument: u64,
    /// Which kind of restart it wants.
    pub errno: Errno,
}

/// The number of `restart_syscall`.
const RESTART_SYSCALL: u64 = 128;
/// The length of the instruction that made the call, in bytes.
const CALL_LENGTH: u64 = 4;

/// What comes next.
enum Next {
    /// Back to user mode.
    Return,
    /// The thread ends.
    End(Status),
    /// The process is stopped.
    Wait,
    /// Another thread writes a core dump.
    Park,
    /// A signal was taken; the process had been continued so often.
    Signal(Info, Action, u32),
}

/// Does what signals ask for before the running thread goes on in user mode with `registers`.
/// May not return.
pub fn before_user(registers: &mut Registers) {
    let thread = current();
    let mut restart = thread.signals.lock().restart.take();
    let mut handled = false;
    loop {
        match next(&thread) {
            Next::Return => break,
            Next::End(status) => exit_thread(status),
            Next::Wait => stop::wait(&thread.process),
            Next::Park => coredump::park(&thread, registers),
            Next::Signal(info, action, continuations) => {
                match action.disposition(info.signal) {
                    Disposition::Ignore => {}
                    // The first process has no default actions, but for what it did itself.
                    Disposition::Terminate { .. } | Disposition::Stop
                        if thread.process.id == Pid::INIT && !info.is_forced() => {}
                    Disposition::Terminate { core } => terminate(&thread, info, core, registers),
                    Disposition::Stop => stop::stop(&thread.process, info.signal, continuations),
                    Disposition::Handle => {
                        if let Some(restart) = restart.take() {
                            interrupt_call(registers, restart, Some(&action));
                        }
                        handle(&thread, registers, info, action);
                        handled = true;
                    }
                }
            }
        }
    }
    if let Some(restart) = restart {
        interrupt_call(registers, restart, None);
    }
    if !handled {
        let mask = thread.signals.lock().saved_mask.take();
        if let Some(mask) = mask {
            thread.signals.lock().mask = mask;
            refresh(&thread);
        }
    }
}

/// Takes the next signal.
fn next(thread: &Current) -> Next {
    let mut signals = thread.process.signals.lock();
    match signals.ending {
        Some(Ending::Process(status)) => return Next::End(status),
        Some(Ending::AllBut(id)) if id != thread.id() => return Next::End(Status::exit(0)),
        Some(Ending::Dump(id)) if id != thread.id() => return Next::Park,
        _ => {}
    }
    if signals.stopped {
        return Next::Wait;
    }
    let mut own = thread.signals.lock();
    let wanted = SignalSet(!own.mask.0);
    let taken = own
        .pending
        .take(wanted)
        .or_else(|| signals.pending.take(wanted));
    let Some(info) = taken else {
        thread.work.clear(Work::SIGNAL);
        return Next::Return;
    };
    let action = signals.actions.get(info.signal);
    if action.has(linux::SA_RESETHAND) && action.disposition(info.signal) == Disposition::Handle {
        signals.actions.set(info.signal, Action::default());
    }
    Next::Signal(info, action, signals.continuations)
}

/// Ends an interrupted call, or makes it start again. `action` is that of the handler that runs.
fn interrupt_call(registers: &mut Registers, restart: Restart, action: Option<&Action>) {
    let again = match action {
        None => true,
        Some(action) => restart.errno == Errno::RESTART && action.has(linux::SA_RESTART),
    };
    if again {
        registers.pc -= CALL_LENGTH;
        registers.x[0] = restart.argument;
        if restart.errno == Errno::RESTART_WAIT {
            registers.x[8] = RESTART_SYSCALL;
        }
    } else {
        registers.x[0] = failure(Errno::EINTR);
    }
}

/// An error as a system call returns it.
pub fn failure(errno: Errno) -> u64 {
    -i64::from(errno.number()) as u64
}

fn terminate(thread: &Current, info: Info, core: bool, registers: &Registers) {
    let dumped = core && coredump::dump(thread, &info, registers);
    end_process(&thread.process, Status::killed(info.signal, dumped));
}

/// Makes the thread go on in the handler.
fn handle(thread: &Current, registers: &mut Registers, info: Info, action: Action) {
    if let Err(_fault) = enter_handler(thread, registers, &info, &action) {
        if info.signal == Signal::SIGSEGV {
            thread
                .process
                .signals
                .lock()
                .actions
                .set(Signal::SIGSEGV, Action::default());
        }
        force(Info::kernel(Signal::SIGSEGV), None);
    }
}

fn enter_handler(
    thread: &Current,
    registers: &mut Registers,
    info: &Info,
    action: &Action,
) -> Result<()> {
    let (saved, fault) = {
        let mut own = thread.signals.lock();
        let fault = own.fault.take().filter(|_| info.is_forced());
        let saved = Saved {
            registers: *registers,
            fp: None,
            mask: own.saved_mask.unwrap_or(own.mask),
            stack: own.stack,
        };
        (saved, fault)
    };
    let mut fp_registers = FpRegisters::default();
    fp::read(&mut fp_registers);
    let saved = Saved {
        fp: Some(fp_registers),
        ..saved
    };
    let sp = frame::place(registers.sp, &saved.stack, action.has(linux::SA_ONSTACK));
    let bytes = frame::build(info, &saved, fault);
    let address = UserAddress(sp);
    address.write(&bytes)?;
    let mut record = [0; 16];
    record[..8].copy_from_slice(&registers.x[29].to_le_bytes());
    record[8..].copy_from_slice(&registers.x[30].to_le_bytes());
    address.offset(FRAME_SIZE).write(&record)?;

    let trampoline = match action.return_address() {
        Some(address) => address,
        None => thread.space()?.layout.lock().trampoline,
    };
    registers.x[0] = info.signal.number().into();
    if action.has(linux::SA_SIGINFO) {
        registers.x[1] = sp;
        registers.x[2] = sp + frame::CONTEXT_OFFSET as u64;
    }
    registers.x[29] = sp + FRAME_SIZE as u64;
    registers.x[30] = trampoline;
    registers.sp = sp;
    registers.pc = action.handler;

    let mut own = thread.signals.lock();
    own.saved_mask = None;
    let mut mask = own.mask.and(action.mask);
    if !action.has(linux::SA_NODEFER) {
        mask = mask.with(info.signal);
    }
    own.mask = mask.without(SignalSet::ABSOLUTE);
    if own.stack.disarm {
        own.stack = AlternateStack::default();
    }
    Ok(())
}

/// `rt_sigreturn`: brings the interrupted program back. A frame that is none costs the thread a
/// `SIGSEGV`.
pub fn return_from_handler(registers: &mut Registers) {
    let sp = registers.sp;
    let read = |at: usize, into: &mut [u8]| user::copy_from_user(into, UserAddress(sp).offset(at));
    let saved = if sp.is_multiple_of(16) {
        frame::parse(read).ok().flatten()
    } else {
        None
    };
    let Some(saved) = saved else {
        force(
            Info::fault(Signal::SIGSEGV, crate::task::signal::code::NOT_MAPPED, sp),
            None,
        );
        return;
    };
    *registers = saved.registers;
    if let Some(registers) = &saved.fp {
        fp::write(registers);
    }
    let thread = current();
    {
        let mut own = thread.signals.lock();
        own.mask = saved.mask;
        own.stack = saved.stack;
        own.restart = None;
    }
    refresh(&thread);
}

/// Notes whether a thread has signals to look at, after its mask has changed.
pub fn refresh(thread: &Thread) {
    let signals = thread.process.signals.lock();
    let own = thread.signals.lock();
    let pending = own.pending.set().and(signals.pending.set());
    let due = !pending.without(own.mask).is_empty() || signals.stopped || signals.ending.is_some();
    if due || own.restart.is_some() {
        thread.work.set(Work::SIGNAL);
    } else {
        thread.work.clear(Work::SIGNAL);
    }
}

impl Thread {
    /// Changes what it blocks. `keep` remembers the old mask for the way back to user mode.
    pub fn set_mask(&self, mask: SignalSet, keep: bool) -> SignalSet {
        let old = {
            let mut own = self.signals.lock();
            let old = core::mem::replace(&mut own.mask, mask.without(SignalSet::ABSOLUTE));
            if keep {
                own.saved_mask = Some(old);
            }
            old
        };
        refresh(self);
        old
    }
}
