//! The first process, and what it finds: files from the RAM disk, devices, a console.

use alloc::string::String;
use alloc::sync::Arc;

use spin::Once;

use crate::arch::{FpRegisters, Registers, console, thread};
use crate::error::{Errno, Result};
use crate::fs::tmpfs::Tmpfs;
use crate::fs::tty::{Line, Processes, Tty};
use crate::fs::{Context, Descriptors, Follow, Namespace, NewInode, OpenFlags, devfs, initramfs};
use crate::task::exit::{Status, end_process};
use crate::task::image::Arguments;
use crate::task::stack::Strings;
use crate::task::{Name, Pid, Process, Thread, Work, current, exec, id, scheduler, tree};

/// The program it runs.
const PROGRAM: &[u8] = b"/init";
/// The terminal it talks to.
const CONSOLE: &[u8] = b"/dev/console";

/// What the boot loader told the kernel.
static COMMAND_LINE: Once<String> = Once::new();
static KERNEL: Once<Arc<Process>> = Once::new();
static TERMINAL: Once<Arc<Tty>> = Once::new();

/// What the boot loader told the kernel, as it came.
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().map_or("", String::as_str)
}

/// The words for the kernel, and behind a `--` those for the first process.
fn words(command_line: &str) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
    let mut words = command_line.split_ascii_whitespace();
    let kernel = command_line
        .split_ascii_whitespace()
        .take_while(|word| *word != "--");
    // `find` leaves the rest.
    words.find(|word| *word == "--");
    (kernel, words)
}

/// The last value that a `name=value` for the kernel gives.
pub fn option<'a>(command_line: &'a str, name: &str) -> Option<&'a str> {
    let values = words(command_line)
        .0
        .filter_map(|word| word.split_once('='));
    values
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .last()
}

/// The process of the kernel's own threads. Its root directory is everybody's.
pub fn kernel_process() -> Arc<Process> {
    let process = KERNEL.call_once(|| {
        let root = Namespace::new(Tmpfs::new("rootfs", u64::MAX));
        Arc::new(Process::new(Pid::NONE, Arc::new(Context::new(root)), 0))
    });
    Arc::clone(process)
}

/// Starts a thread of the kernel's, which must not return.
///
/// # Errors
///
/// `ENOMEM`, `EAGAIN`.
pub fn start_kernel_thread(name: &[u8], entry: fn(usize), argument: usize) -> Result<()> {
    let state = thread::State::kernel(entry, argument)?;
    let thread = Arc::new(Thread::new(id::allocate()?, kernel_process(), state));
    *thread.name.lock() = Name::new(name);
    scheduler::start(&thread)
}

/// The console's line.
#[derive(Debug)]
struct Serial;

impl Line for Serial {
    fn send(&self, bytes: &[u8]) {
        console::write(bytes);
    }
}

/// Starts the first process, which runs `/init` of the RAM disk with what the command line has
/// behind `--`. Its console is served by a thread.
///
/// # Errors
///
/// What keeps it from starting.
pub fn start(disk: &[u8], command_line: &str) -> Result<()> {
    COMMAND_LINE.call_once(|| command_line.into());
    let number = id::allocate()?;
    let terminal = TERMINAL.call_once(|| Tty::new(Arc::new(Serial), Arc::new(Processes)));
    devfs::register(terminal)?;
    console::set_receiver(|byte| {
        if let Some(terminal) = TERMINAL.get() {
            terminal.arrive(&[byte]);
        }
    });
    let serve = |_| {
        while let Some(terminal) = TERMINAL.get() {
            terminal.serve();
        }
    };
    start_kernel_thread(b"ktty", serve, 0)?;
    unpack(disk);
    start_first_process(number)
}

/// Fills the root directory. What is wrong with the disk is said, and what came before is there.
fn unpack(disk: &[u8]) {
    let context = &kernel_process().context;
    match initramfs::unpack(context, disk) {
        Ok(count) => log::info!("Unpacked {count} files of the initial RAM disk"),
        Err(error) => log::error!("The initial RAM disk: {error}"),
    }
    let mounted = match context.make(None, b"/dev", NewInode::Directory, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => mount_devices(context),
        Err(error) => Err(error),
    };
    if let Err(error) = mounted {
        log::error!("devtmpfs: error mounting {error:?}");
    }
}

fn mount_devices(context: &Context) -> Result<()> {
    let place = context.resolve(None, b"/dev", Follow::Yes)?;
    let namespace = context.namespace();
    namespace.mount(devfs::new()?, place, b"devtmpfs", false)
}

fn start_first_process(number: Pid) -> Result<()> {
    let context = Arc::new(kernel_process().context.duplicate());
    let files = Descriptors::new();
    match context.open(None, CONSOLE, OpenFlags::READ_WRITE, 0) {
        Ok(console) => {
            for _ in 0..3 {
                files.add(Arc::clone(&console), false)?;
            }
        }
        Err(error) => log::warn!("Warning: unable to open an initial console ({error:?})."),
    }
    let process = Arc::new(Process::new(number, context, 0));
    *process.files.lock() = Some(Arc::new(files));
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
            log::error!(
                "Failed to execute {} (error {error:?})",
                PROGRAM.escape_ascii()
            );
            end_process(&current().process, Status::exit(1));
        }
    }
}

fn run() -> Result<Registers> {
    let mut arguments = Strings::default();
    arguments.push(PROGRAM)?;
    for word in words(command_line()).1 {
        arguments.push(word.as_bytes())?;
    }
    let mut environment = Strings::default();
    for variable in [
        &b"HOME=/"[..],
        b"TERM=linux",
        b"PATH=/sbin:/usr/sbin:/bin:/usr/bin",
    ] {
        environment.push(variable)?;
    }
    exec::start(Arguments {
        arguments,
        environment,
        path: PROGRAM.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{option, words};

    #[test]
    fn words_behind_two_dashes_are_the_first_process_s() {
        let line = "a recover=off -- b recover=off -- c";
        assert_eq!(option(line, "recover"), Some("off"));
        assert_eq!(option("recover=on recover=off", "recover"), Some("off"));
        assert_eq!(option("a=1 -- recover=off", "recover"), None);
        let (kernel, program) = words(line);
        assert_eq!(kernel.collect::<Vec<_>>(), ["a", "recover=off"]);
        assert_eq!(program.collect::<Vec<_>>(), ["b", "recover=off", "--", "c"]);
        assert_eq!(words("a b").1.count(), 0);
    }
}
