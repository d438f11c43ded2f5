//! New threads and processes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;

use crate::arch::thread::{State, tls};
use crate::arch::{FpRegisters, Registers, fp};
use crate::error::{Errno, Result};
use crate::fs::Context;
use crate::memory::UserAddress;
use crate::task::process::Process;
use crate::task::signal::refresh;
use crate::task::{Pid, Thread, Work, current, id, scheduler, tree};

/// What a thread must share with the others of its process: here that is all or nothing.
const SHARED_BY_THREADS: u32 =
    linux::CLONE_VM | linux::CLONE_FS | linux::CLONE_FILES | linux::CLONE_SIGHAND;
/// Flags that are known. The rest make namespaces and the like.
const KNOWN: u32 = SHARED_BY_THREADS
    | linux::CLONE_THREAD
    | linux::CLONE_VFORK
    | linux::CLONE_PARENT
    | linux::CLONE_SYSVSEM
    | linux::CLONE_SETTLS
    | linux::CLONE_PARENT_SETTID
    | linux::CLONE_CHILD_SETTID
    | linux::CLONE_CHILD_CLEARTID
    | linux::CLONE_DETACHED
    | linux::CLONE_IO
    | linux::CLONE_UNTRACED
    | linux::CLONE_PTRACE;

/// What `clone` and `clone3` ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `CLONE_...`.
    pub flags: u32,
    /// Handlers become defaults (`CLONE_CLEAR_SIGHAND`).
    pub clear_handlers: bool,
    /// What the parent gets when the child ends; 0 for none.
    pub exit_signal: u8,
    /// The stack pointer; 0 for the same as the caller's.
    pub stack: u64,
    /// Where the caller gets the number.
    pub parent_number: UserAddress,
    /// Where the child gets it, and where it is cleared when the child ends.
    pub child_number: UserAddress,
    /// TPIDR_EL0, with `CLONE_SETTLS`.
    pub tls: u64,
}

impl Request {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn check(&self) -> Result<()> {
        let sighand_alone = self.has(linux::CLONE_SIGHAND) && !self.has(linux::CLONE_THREAD);
        let half_a_thread =
            self.has(linux::CLONE_THREAD) && self.flags & SHARED_BY_THREADS != SHARED_BY_THREADS;
        let unknown = self.flags & !KNOWN != 0;
        let contradiction = self.clear_handlers && self.has(linux::CLONE_SIGHAND);
        if sighand_alone
            || half_a_thread
            || unknown
            || contradiction
            || !self.stack.is_multiple_of(16)
        {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Makes a thread or a process that goes on where the running thread is, whose registers are
/// `registers`, with 0 as the result of the call.
///
/// # Errors
///
/// `EINVAL`: flags that do not go together, or that are not supported. `EAGAIN`, `ENOMEM`.
/// `EFAULT`: the caller's place for the number.
pub fn clone(registers: &Registers, request: Request) -> Result<Pid> {
    request.check()?;
    let number = id::allocate()?;
    let made = make(number, registers, &request);
    let thread = match made {
        Ok(thread) => thread,
        Err(error) => {
            id::free(number);
            return Err(error);
        }
    };
    let parent = current();
    let child = Arc::clone(&thread.process);
    if request.has(linux::CLONE_VFORK) {
        let killed = || parent.process.signals.lock().ending.is_some();
        child.borrowed.wait(killed);
    }
    Ok(number)
}

fn make(number: Pid, registers: &Registers, request: &Request) -> Result<Arc<Thread>> {
    let parent = current();
    let mut registers = *registers;
    registers.x[0] = 0;
    if request.stack != 0 {
        registers.sp = request.stack;
    }
    let tls = if request.has(linux::CLONE_SETTLS) {
        request.tls
    } else {
        tls()
    };
    let process = if request.has(linux::CLONE_THREAD) {
        Arc::clone(&parent.process)
    } else {
        new_process(number, request)?
    };
    let thread = new_thread(number, process, &registers, tls)?;
    inherit(&parent, &thread, request);
    if request.has(linux::CLONE_PARENT_SETTID) {
        request.parent_number.write(&number.0.to_le_bytes())?;
    }
    enlist(&thread, request)?;
    if let Err(error) = scheduler::start(&thread) {
        withdraw(&thread);
        return Err(error);
    }
    Ok(thread)
}

// Processes, threads and registers are large, and a stack is small: what makes them has frames that
// are gone when the rest is done.

#[inline(never)]
fn new_thread(
    number: Pid,
    process: Arc<Process>,
    registers: &Registers,
    tls: u64,
) -> Result<Arc<Thread>> {
    let mut fp_registers = FpRegisters::default();
    fp::read(&mut fp_registers);
    let state = State::user(registers, tls, &fp_registers)?;
    Ok(Arc::new(Thread::new(number, process, state)))
}

#[inline(never)]
fn empty_process(number: Pid, context: Arc<Context>, exit_signal: u8) -> Arc<Process> {
    Arc::new(Process::new(number, context, exit_signal))
}

fn new_process(number: Pid, request: &Request) -> Result<Arc<Process>> {
    let parent = &current().process;
    let context = if request.has(linux::CLONE_FS) {
        Arc::clone(&parent.context)
    } else {
        Arc::new(parent.context.duplicate())
    };
    // What another process is sent when this one ends is not for the caller to choose.
    let exit_signal = if request.has(linux::CLONE_PARENT) {
        parent.exit_signal
    } else {
        request.exit_signal
    };
    let process = empty_process(number, context, exit_signal);
    let space = current().space()?;
    let space = if request.has(linux::CLONE_VM) {
        space
    } else {
        Arc::new(space.fork()?)
    };
    *process.space.lock() = Some(space);
    let files = parent.files()?;
    let files = if request.has(linux::CLONE_FILES) {
        files
    } else {
        Arc::new(files.duplicate())
    };
    *process.files.lock() = Some(files);
    process
        .executable
        .lock()
        .clone_from(&*parent.executable.lock());
    process.limits.lock().clone_from(&*parent.limits.lock());
    let dumpable = parent.dumpable.load(Ordering::Relaxed);
    process.dumpable.store(dumpable, Ordering::Relaxed);
    let mut actions = parent.signals.lock().actions.clone();
    if request.clear_handlers {
        actions.reset_handlers();
    }
    process.signals.lock().actions = actions;
    Ok(process)
}

fn inherit(parent: &Thread, child: &Thread, request: &Request) {
    child.entity.inherit(&parent.entity);
    *child.name.lock() = *parent.name.lock();
    {
        let parents = parent.signals.lock();
        let mut own = child.signals.lock();
        own.mask = parents.saved_mask.unwrap_or(parents.mask);
        // A child that runs in the same memory, and not instead of its parent, needs its own.
        if !request.has(linux::CLONE_VM) || request.has(linux::CLONE_VFORK) {
            own.stack = parents.stack;
        }
    }
    if request.has(linux::CLONE_CHILD_CLEARTID) {
        child
            .clear_on_exit
            .store(request.child_number.0, Ordering::Relaxed);
    }
    if request.has(linux::CLONE_CHILD_SETTID) {
        child
            .store_number
            .store(request.child_number.0, Ordering::Relaxed);
        child.work.set(Work::START);
    }
}

/// Makes the thread known, where signals find it.
fn enlist(thread: &Arc<Thread>, request: &Request) -> Result<()> {
    let process = &thread.process;
    {
        let signals = process.signals.lock();
        // A process that ends takes no new threads: they would not be told.
        if signals.ending.is_some() {
            return Err(Errno::EAGAIN);
        }
        let mut threads = process.threads.lock();
        threads.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        threads.push(Arc::clone(thread));
    }
    refresh(thread);
    if process.id != thread.id() {
        return Ok(());
    }
    let mut tree = tree().lock();
    let caller = current().process.id;
    let parent = if request.has(linux::CLONE_PARENT) {
        tree.parent(caller)
    } else {
        caller
    };
    let inserted = tree.insert(process.id, Some(parent), Arc::clone(process));
    drop(tree);
    if inserted.is_err() {
        process.threads.lock().clear();
    }
    inserted
}

/// Undoes [`enlist`].
fn withdraw(thread: &Arc<Thread>) {
    let process = &thread.process;
    process
        .threads
        .lock()
        .retain(|other| !Arc::ptr_eq(other, thread));
    if process.id == thread.id() {
        let freed = tree().lock().remove(process.id);
        // The caller frees the number of the process.
        freed
            .into_iter()
            .filter(|number| *number != process.id)
            .for_each(id::free);
    }
}

/// The first thing a new thread does, when it has its own memory.
pub fn begin(thread: &Thread) {
    thread.work.clear(Work::START);
    let address = UserAddress(thread.store_number.swap(0, Ordering::Relaxed));
    // A child whose place for the number is not there does without, as on Linux.
    address
        .write_if_wanted(&thread.id().0.to_le_bytes())
        .unwrap_or(());
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general as linux;

    use super::Request;
    use crate::error::Errno;

    fn check(flags: u32) -> Result<(), Errno> {
        let request = Request {
            flags,
            ..Request::default()
        };
        request.check()
    }

    #[test]
    fn what_the_c_libraries_ask_for() {
        // fork, vfork and posix_spawn, pthread_create of musl and glibc.
        for flags in [0, 0x4100, 0x7d_0f00, 0x3d_0f00, 0x120_0000] {
            assert_eq!(check(flags), Ok(()), "{flags:#x}");
        }
    }

    #[test]
    fn what_does_not_go_together() {
        for flags in [
            linux::CLONE_THREAD,
            linux::CLONE_THREAD | linux::CLONE_VM | linux::CLONE_SIGHAND,
            linux::CLONE_SIGHAND,
            linux::CLONE_NEWPID,
            linux::CLONE_NEWUSER,
        ] {
            assert_eq!(check(flags), Err(Errno::EINVAL), "{flags:#x}");
        }
    }
}
