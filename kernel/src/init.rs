//! The first process.

use alloc::sync::Arc;

use spin::Once;

use crate::arch::{FpRegisters, Registers, thread};
use crate::error::Result;
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{Context, Descriptors, Namespace, OpenFlags};
use crate::memory::Source;
use crate::task::exit::{Status, end_process};
use crate::task::image::Arguments;
use crate::task::stack::Strings;
use crate::task::{Pid, Process, Thread, Work, current, exec, id, scheduler, tree};

/// The program it runs.
const PROGRAM: &[u8] = b"/init";

static KERNEL: Once<Arc<Process>> = Once::new();

/// The process of the kernel's own threads. Its root directory is everybody's.
pub fn kernel_process() -> Arc<Process> {
    let process = KERNEL.call_once(|| {
        let root = Namespace::new(Tmpfs::new("rootfs", u64::MAX));
        Arc::new(Process::new(Pid::NONE, Arc::new(Context::new(root)), 0))
    });
    Arc::clone(process)
}

/// Starts the first process, which runs `/init` of the RAM disk.
///
/// # Errors
///
/// `ENOMEM`.
pub fn start(disk: &[u8]) -> Result<()> {
    let kernel = kernel_process();
    let file = kernel.context.open(None, PROGRAM, OpenFlags::READ_WRITE | OpenFlags::CREATE, 0o755)?;
    file.write(&mut Source::Kernel(disk))?;
    let number = id::allocate()?;
    let context = Arc::new(kernel.context.duplicate());
    let process = Arc::new(Process::new(number, context, 0));
    *process.files.lock() = Some(Arc::new(Descriptors::new()));
    // It starts in user mode, but finds work to do before: to become a program.
    let state = thread::State::user(&Registers::default(), 0, &FpRegisters::default())?;
    let thread = Arc::new(Thread::new(number, Arc::clone(&process), state));
    thread.work.set(Work::FIRST_PROGRAM);
    process.threads.lock().push(Arc::clone(&thread));
    tree().lock().insert(number, None, process)?;
    scheduler::start(&thread)
}

/// Makes the running thread the first program.
pub fn execute(registers: &mut Registers) {
    current().work.clear(Work::FIRST_PROGRAM);
    match run() {
        Ok(started) => *registers = started,
        Err(error) => {
            log::error!("Failed to execute {} (error {error:?})", PROGRAM.escape_ascii());
            end_process(&current().process, Status::exit(1));
        }
    }
}

fn run() -> Result<Registers> {
    let mut arguments = Strings::default();
    arguments.push(PROGRAM)?;
    let mut environment = Strings::default();
    for variable in [&b"HOME=/"[..], b"TERM=linux", b"PATH=/sbin:/usr/sbin:/bin:/usr/bin"] {
        environment.push(variable)?;
    }
    exec::start(Arguments {
        arguments,
        environment,
        path: PROGRAM.to_vec(),
    })
}
