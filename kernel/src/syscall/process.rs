//! Processes and threads: how they begin and end, and what they may use.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::{general as linux, prctl as pr};
use mm::KillPolicy;

use super::Arguments;
use super::file::{base, follow_unless, path_name};
use super::io::open_file;
use crate::arch::{Registers, time};
use crate::error::{Errno, Result};
use crate::fs::{Follow, OpenFile};
use crate::memory::UserAddress;
use crate::task::clone::{self, Request};
use crate::task::exec::{self, read_strings};
use crate::task::exit::{self, Status};
use crate::task::image::{self, TICKS};
use crate::task::process::find;
use crate::task::signal::{Detail, Info, Signal};
use crate::task::wait::{self, Found, Options};
use crate::task::{Event, Events, Limit, Name, Pid, Process, Select, current, tree};

pub(super) fn clone(a: Arguments, registers: &Registers) -> Result<u64> {
    let flags = a.half(0);
    let request = Request {
        flags: flags & !linux::CSIGNAL,
        clear_handlers: false,
        exit_signal: flags as u8,
        stack: a.word(1),
        parent_number: a.address(2),
        tls: a.word(3),
        child_number: a.address(4),
    };
    Ok(clone::clone(registers, request)?.0.into())
}

/// `CLONE_CLEAR_SIGHAND` does not fit the flags of `clone`.
const CLEAR_HANDLERS: u64 = 1 << 32;

pub(super) fn clone3(a: Arguments, registers: &Registers) -> Result<u64> {
    const KNOWN_SIZE: usize = 88;
    let size = a.size(1);
    if size < linux::CLONE_ARGS_SIZE_VER0 as usize {
        return Err(Errno::EINVAL);
    }
    if size > mm::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut words = [0; KNOWN_SIZE / 8];
    for (index, word) in words.iter_mut().enumerate().take(size / 8) {
        *word = a.address(0).offset(index * 8).read_u64()?;
    }
    for at in KNOWN_SIZE..size {
        if a.address(0).offset(at).read::<1>()? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    let [
        flags,
        _,
        child,
        parent,
        signal,
        stack,
        length,
        tls,
        set_tid,
        set_tid_count,
        _,
    ] = words;
    let known = u64::from(u32::MAX) | CLEAR_HANDLERS;
    if flags & !known != 0
        || flags & u64::from(linux::CSIGNAL) != 0
        || signal > Signal::MAX.into()
        || (stack == 0) != (length == 0)
        || set_tid != 0
        || set_tid_count != 0
    {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags: flags as u32,
        clear_handlers: flags & CLEAR_HANDLERS != 0,
        exit_signal: signal as u8,
        stack: stack.wrapping_add(length),
        parent_number: UserAddress(parent),
        child_number: UserAddress(child),
        tls,
    };
    Ok(clone::clone(registers, request)?.0.into())
}

/// Runs another program. On success the registers are the program's, and X0 with them.
fn execute(
    base: Option<&OpenFile>,
    follow: Follow,
    path: Vec<u8>,
    (arguments, environment): (UserAddress, UserAddress),
    registers: &mut Registers,
) -> Result<u64> {
    let arguments = image::Arguments {
        arguments: read_strings(arguments)?,
        environment: read_strings(environment)?,
        path,
    };
    exec::exec(base, follow, arguments, registers)?;
    Ok(registers.x[0])
}

pub(super) fn execve(a: Arguments, registers: &mut Registers) -> Result<u64> {
    let path = path_name(a.address(0))?;
    let vectors = (a.address(1), a.address(2));
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    execute(None, Follow::Yes, path, vectors, registers)
}

pub(super) fn execveat(a: Arguments, registers: &mut Registers) -> Result<u64> {
    let path = path_name(a.address(1))?;
    let vectors = (a.address(2), a.address(3));
    let flags = a.half(4);
    if flags & !(linux::AT_EMPTY_PATH | linux::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let base = if path.is_empty() {
        if flags & linux::AT_EMPTY_PATH == 0 {
            return Err(Errno::ENOENT);
        }
        Some(open_file(a.int(0))?)
    } else {
        base(a.int(0), &path)?
    };
    let follow = follow_unless(flags, linux::AT_SYMLINK_NOFOLLOW);
    execute(base.as_deref(), follow, path, vectors, registers)
}

pub(super) fn exit(a: Arguments) -> Result<u64> {
    exit::exit_thread(Status::exit(a.word(0) as u8))
}

pub(super) fn exit_group(a: Arguments) -> Result<u64> {
    let status = Status::exit(a.word(0) as u8);
    exit::end_process(&current().process, status);
    exit::exit_thread(status)
}

/// `struct rusage` with the times filled in: all of it counts as user time.
fn usage_bytes(runtime: u64) -> [u8; 144] {
    let mut bytes = [0; 144];
    let microseconds = runtime / 1000;
    bytes[..8].copy_from_slice(&(microseconds / 1_000_000).to_le_bytes());
    bytes[8..16].copy_from_slice(&(microseconds % 1_000_000).to_le_bytes());
    bytes
}

/// The status word of `wait4`.
fn status_word(event: Event) -> u32 {
    match event {
        Event::Exited(status) => status.word(),
        Event::Stopped(signal) => u32::from(signal) << 8 | 0x7f,
        Event::Continued => 0xffff,
    }
}

pub(super) fn wait4(a: Arguments) -> Result<u64> {
    let options = a.half(2);
    let known = linux::WNOHANG
        | linux::WUNTRACED
        | linux::WCONTINUED
        | linux::__WALL
        | linux::__WCLONE
        | linux::__WNOTHREAD;
    if options & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let select = match a.int(0) {
        -1 => Select::Any,
        0 => Select::Group(tree().lock().group(current().process.id)?),
        i32::MIN => return Err(Errno::ESRCH),
        pid @ 1.. => Select::Process(Pid(pid as u32)),
        group => Select::Group(Pid(group.unsigned_abs())),
    };
    let events = Events {
        exited: true,
        stopped: options & linux::WUNTRACED != 0,
        continued: options & linux::WCONTINUED != 0,
    };
    let at_once = options & linux::WNOHANG != 0;
    let found = wait::wait(
        select,
        Options {
            events,
            keep: false,
            at_once,
        },
    )?;
    let Some(Found {
        pid,
        event,
        runtime,
    }) = found
    else {
        return Ok(0);
    };
    a.address(1)
        .write_if_wanted(&status_word(event).to_le_bytes())?;
    a.address(3).write_if_wanted(&usage_bytes(runtime))?;
    Ok(pid.0.into())
}

pub(super) fn waitid(a: Arguments) -> Result<u64> {
    let options = a.half(3);
    let events = Events {
        exited: options & linux::WEXITED != 0,
        stopped: options & linux::WSTOPPED != 0,
        continued: options & linux::WCONTINUED != 0,
    };
    let known = linux::WNOHANG
        | linux::WEXITED
        | linux::WSTOPPED
        | linux::WCONTINUED
        | linux::WNOWAIT
        | linux::__WALL
        | linux::__WCLONE
        | linux::__WNOTHREAD;
    if options & !known != 0 || events == Events::default() {
        return Err(Errno::EINVAL);
    }
    let select = match (a.half(0), a.int(1)) {
        (linux::P_ALL, _) => Select::Any,
        (linux::P_PID, pid @ 1..) => Select::Process(Pid(pid as u32)),
        (linux::P_PGID, 0) => Select::Group(tree().lock().group(current().process.id)?),
        (linux::P_PGID, group @ 1..) => Select::Group(Pid(group as u32)),
        _ => return Err(Errno::EINVAL),
    };
    let found = wait::wait(
        select,
        Options {
            events,
            keep: options & linux::WNOWAIT != 0,
            at_once: options & linux::WNOHANG != 0,
        },
    )?;
    let bytes = match found {
        None => [0; crate::task::signal::INFO_SIZE],
        Some(found) => child_info(&found).to_bytes(),
    };
    a.address(2).write_if_wanted(&bytes)?;
    let runtime = found.map_or(0, |found| found.runtime);
    a.address(4).write_if_wanted(&usage_bytes(runtime))?;
    Ok(0)
}

fn child_info(found: &Found) -> Info {
    use crate::task::signal::code;

    let (code, status) = match found.event {
        Event::Exited(status) => status.code_and_status(),
        Event::Stopped(signal) => (code::CHILD_STOPPED, signal.into()),
        Event::Continued => (code::CHILD_CONTINUED, Signal::SIGCONT.number().into()),
    };
    Info {
        signal: Signal::SIGCHLD,
        code,
        detail: Detail::Child(found.pid, 0, status),
    }
}

pub(super) fn set_tid_address(a: Arguments) -> Result<u64> {
    let thread = current();
    thread.clear_on_exit.store(a.word(0), Ordering::Relaxed);
    Ok(thread.id().0.into())
}

pub(super) fn prctl(a: Arguments) -> Result<u64> {
    let thread = current();
    match a.half(0) {
        pr::PR_SET_NAME => {
            let name = a.address(1).read_string(16, Errno::E2BIG);
            // A longer name is cut.
            let name = match name {
                Err(Errno::E2BIG) => a.address(1).read::<15>()?.to_vec(),
                name => name?,
            };
            *thread.name.lock() = Name::new(&name);
            Ok(0)
        }
        pr::PR_GET_NAME => {
            let name = *thread.name.lock();
            a.address(1).write(&name.0).map(|()| 0)
        }
        pr::PR_MCE_KILL => set_kill_policy(a),
        pr::PR_MCE_KILL_GET => {
            if [2, 3, 4].iter().any(|index| a.word(*index) != 0) || a.word(1) != 0 {
                return Err(Errno::EINVAL);
            }
            Ok(match thread.space()?.handle().kill_policy() {
                KillPolicy::Default => pr::PR_MCE_KILL_DEFAULT,
                KillPolicy::Early => pr::PR_MCE_KILL_EARLY,
                KillPolicy::Late => pr::PR_MCE_KILL_LATE,
            }
            .into())
        }
        pr::PR_GET_DUMPABLE => Ok(thread.process.dumpable.load(Ordering::Relaxed).into()),
        pr::PR_SET_DUMPABLE if a.word(1) <= 1 => {
            let dumpable = a.word(1) == 1;
            thread.process.dumpable.store(dumpable, Ordering::Relaxed);
            Ok(0)
        }
        // Nothing here depends on these, so there is only one value they can have.
        pr::PR_GET_NO_NEW_PRIVS | pr::PR_GET_KEEPCAPS | pr::PR_GET_SECCOMP => Ok(0),
        pr::PR_GET_PDEATHSIG => a.address(1).write(&0u32.to_le_bytes()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// `PR_MCE_KILL`: when the process is told of memory that it loses. For Linux this is a thread's;
/// here all threads of a process share it, as they share the memory.
fn set_kill_policy(a: Arguments) -> Result<u64> {
    let policy = match (a.word(1) as u32, a.word(2) as u32) {
        _ if a.word(3) != 0 || a.word(4) != 0 => return Err(Errno::EINVAL),
        (pr::PR_MCE_KILL_CLEAR, 0) => KillPolicy::Default,
        (pr::PR_MCE_KILL_SET, pr::PR_MCE_KILL_EARLY) => KillPolicy::Early,
        (pr::PR_MCE_KILL_SET, pr::PR_MCE_KILL_LATE) => KillPolicy::Late,
        (pr::PR_MCE_KILL_SET, pr::PR_MCE_KILL_DEFAULT) => KillPolicy::Default,
        _ => return Err(Errno::EINVAL),
    };
    current().space()?.handle().set_kill_policy(policy);
    Ok(0)
}

/// The process that a `pid` argument names; 0 is the caller's.
fn process(pid: i32) -> Result<Arc<Process>> {
    match pid {
        0 => Ok(Arc::clone(&current().process)),
        1.. => find(Pid(pid as u32)).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// The descriptor table has its own limit.
fn apply_limits(process: &Process) {
    let limit = process.limits.lock().get(linux::RLIMIT_NOFILE);
    if let (Ok(files), Ok(limit)) = (process.files(), limit) {
        files.set_limit(usize::try_from(limit.current).unwrap_or(usize::MAX));
    }
}

fn read_limit(address: UserAddress) -> Result<Limit> {
    Ok(Limit {
        current: address.read_u64()?,
        maximum: address.offset(8).read_u64()?,
    })
}

fn write_limit(address: UserAddress, limit: Limit) -> Result<()> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&limit.current.to_le_bytes());
    bytes[8..].copy_from_slice(&limit.maximum.to_le_bytes());
    address.write(&bytes)
}

pub(super) fn prlimit64(a: Arguments) -> Result<u64> {
    let process = process(a.int(0))?;
    let new = match a.address(2) {
        address if address.is_null() => None,
        address => Some(read_limit(address)?),
    };
    let old = process.limits.lock().get(a.half(1))?;
    if let Some(new) = new {
        process.limits.lock().set(a.half(1), new)?;
        apply_limits(&process);
    }
    if !a.address(3).is_null() {
        write_limit(a.address(3), old)?;
    }
    Ok(0)
}

pub(super) fn getrlimit(a: Arguments) -> Result<u64> {
    let limit = current().process.limits.lock().get(a.half(0))?;
    write_limit(a.address(1), limit).map(|()| 0)
}

pub(super) fn setrlimit(a: Arguments) -> Result<u64> {
    let new = read_limit(a.address(1))?;
    let process = &current().process;
    process.limits.lock().set(a.half(0), new)?;
    apply_limits(process);
    Ok(0)
}

pub(super) fn getrusage(a: Arguments) -> Result<u64> {
    let thread = current();
    let process = &thread.process;
    let runtime = match a.int(0) {
        0 => process.total_runtime(),
        -1 => process.children_runtime.load(Ordering::Relaxed),
        1 => thread.entity.runtime(),
        _ => return Err(Errno::EINVAL),
    };
    a.address(1).write(&usage_bytes(runtime)).map(|()| 0)
}

pub(super) fn times(a: Arguments) -> Result<u64> {
    let ticks = |nanoseconds: u64| nanoseconds / (1_000_000_000 / TICKS);
    if !a.address(0).is_null() {
        let thread = current();
        let own = ticks(thread.process.total_runtime());
        let children = ticks(thread.process.children_runtime.load(Ordering::Relaxed));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&own.to_le_bytes());
        bytes[16..24].copy_from_slice(&children.to_le_bytes());
        a.address(0).write(&bytes)?;
    }
    Ok(ticks(time::now()))
}
