//! `execve`: another program in the same process.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use mm::File;

use crate::arch::{FpRegisters, Registers, fp, space, thread};
use crate::error::{Errno, Result};
use crate::fs::{FileType, Follow, OpenFile, OpenFlags, Path};
use crate::memory::UserAddress;
use crate::task::exit::{Status, end_other_threads, end_process, release_futexes};
use crate::task::image::{self, Arguments, Start};
use crate::task::process::Process;
use crate::task::script::{self, LINE_LIMIT};
use crate::task::signal::Signal;
use crate::task::stack::Strings;
use crate::task::{AlternateStack, Name, UserSpace, current, id, tree};

/// The greatest length of one argument in bytes, with its zero. Linux, `linux/binfmts.h`.
const ARGUMENT_LIMIT: usize = 128 << 10;
/// The greatest length of all of them.
const ARGUMENTS_LIMIT: usize = 2 << 20;
/// How many scripts can be each other's interpreters.
const SCRIPT_LIMIT: usize = 4;

/// Reads an array of addresses of strings that ends with a zero, and the strings.
///
/// # Errors
///
/// `EFAULT`, `E2BIG`, `ENOMEM`.
pub fn read_strings(array: UserAddress) -> Result<Strings> {
    let mut strings = Strings::default();
    if array.is_null() {
        return Ok(strings);
    }
    loop {
        // The array counts too.
        let used = strings.length() + 8 * strings.count();
        if used > ARGUMENTS_LIMIT {
            return Err(Errno::E2BIG);
        }
        let string = UserAddress(array.offset(8 * strings.count()).read_u64()?);
        if string.is_null() {
            return Ok(strings);
        }
        strings.push(&string.read_string(ARGUMENT_LIMIT, Errno::E2BIG)?)?;
    }
}

/// A program that was found: what it is, and what it is started with.
#[derive(Debug)]
struct Program {
    path: Path,
    file: Arc<File>,
    arguments: Arguments,
}

/// Opens a program's file.
fn open(
    process: &Process,
    base: Option<&OpenFile>,
    name: &[u8],
    follow: Follow,
) -> Result<(Path, Arc<File>)> {
    let path = match base {
        Some(base) if name.is_empty() => base.path().cloned().ok_or(Errno::EACCES)?,
        _ => process.context.resolve(base, name, follow)?,
    };
    let metadata = path.metadata();
    if path.inode().kind() == FileType::SymbolicLink {
        return Err(Errno::ELOOP);
    }
    if path.inode().kind() != FileType::Regular || metadata.permissions & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    let file = OpenFile::open(path.clone(), OpenFlags::empty())?.mapping();
    Ok((path, file.map_err(|_| Errno::EACCES)?))
}

/// Finds the program behind a path: the file itself, or the interpreter of a script.
fn find(
    process: &Process,
    base: Option<&OpenFile>,
    follow: Follow,
    mut arguments: Arguments,
) -> Result<Program> {
    if arguments.arguments.count() == 0 {
        // A program relies on having a name.
        arguments.arguments.push(b"")?;
    }
    let mut name = arguments.path.clone();
    let (mut path, mut file) = open(process, base, &name, follow)?;
    for _ in 0..=SCRIPT_LIMIT {
        let mut start = [0; LINE_LIMIT];
        let length = image::read(&file, 0, &mut start)?;
        let Some((interpreter, argument)) = script::parse(&start[..length]) else {
            return Ok(Program {
                path,
                file,
                arguments,
            });
        };
        match argument {
            Some(argument) => arguments
                .arguments
                .replace_first(1, &[interpreter, argument, &name])?,
            None => arguments
                .arguments
                .replace_first(1, &[interpreter, &name])?,
        }
        (path, file) = open(process, None, interpreter, Follow::Yes)?;
        name = interpreter.to_vec();
    }
    Err(Errno::ELOOP)
}

/// Runs another program in the running thread's process. On success the thread's registers are
/// those the program starts with, and its other threads have ended.
///
/// # Errors
///
/// `ENOENT` and whatever else a path can give; `EACCES`: no regular file, or not executable; `ELOOP`: a link that is not followed;
/// `ENOEXEC`: not a program for this machine; `E2BIG`, `ENOMEM`, `EIO`. The old program goes on.
pub fn exec(
    base: Option<&OpenFile>,
    follow: Follow,
    arguments: Arguments,
    registers: &mut Registers,
) -> Result<()> {
    let process = Arc::clone(&current().process);
    let program = find(&process, base, follow, arguments)?;
    let (space, start) = image::prepare(&program.file, &program.arguments)?;
    space.name_file(program.file.id(), &program.path);
    if !end_other_threads() {
        // A signal that ends the process came first. Nobody sees this.
        return Err(Errno::EAGAIN);
    }
    let name = program.arguments.path.rsplit(|byte| *byte == b'/').next();
    *current().name.lock() = Name::new(name.unwrap_or_default());
    replace(&process, program.path, space, &start, registers);
    Ok(())
}

/// The first program of a process that has none yet: the running thread's.
///
/// # Errors
///
/// As for [`exec`].
pub fn start(arguments: Arguments) -> Result<Registers> {
    let mut registers = Registers::default();
    exec(None, Follow::Yes, arguments, &mut registers)?;
    Ok(registers)
}

/// From here on there is no way back.
fn replace(
    process: &Arc<Process>,
    program: Path,
    space: UserSpace,
    start: &Start,
    registers: &mut Registers,
) {
    let thread = current();
    release_futexes(&thread);
    if thread.id() != process.id {
        id::free(thread.id());
        thread.set_id(process.id);
    }
    enter(process, space);
    reset_signals(process);
    unshare_files(process);
    *process.executable.lock() = Some(program);
    process.dumpable.store(true, Ordering::Relaxed);
    tree().lock().set_executed(process.id);
    fp::write(&FpRegisters::default());
    thread::set_tls(0);
    match start.complete() {
        Ok(sp) => {
            *registers = Registers {
                sp,
                pc: start.entry,
                ..Registers::default()
            };
        }
        Err(_) => end_process(process, Status::killed(Signal::SIGKILL, false)),
    }
    process.borrowed.give_back();
}

/// Makes the new space the process's.
fn enter(process: &Process, new: UserSpace) {
    let thread = current();
    let new = Arc::new(new);
    space::activate(Some((new.id(), new.root())));
    let old = [
        thread.space.lock().replace(Arc::clone(&new)),
        process.space.lock().replace(new),
    ];
    // Destroying the old one takes a while, and no spin lock is held for it.
    drop(old);
}

fn reset_signals(process: &Process) {
    process.signals.lock().actions.reset_handlers();
    current().signals.lock().stack = AlternateStack::default();
}

/// A table that another process shares is copied, so that it keeps what this one closes.
fn unshare_files(process: &Process) {
    let mut files = process.files.lock();
    if let Some(table) = &mut *files
        && Arc::strong_count(table) > 1
    {
        *table = Arc::new(table.duplicate());
    }
    let table = files.clone();
    drop(files);
    if let Some(table) = table {
        table.close_on_exec();
    }
}
