//! The first process of a machine that runs one program, or a shell, and switches itself off.
//!
//! The program is what follows `--` on the kernel's command line. A disk that `seaworthy.disk=` names
//! there is mounted on `/mnt`, if an ext4 is on it. It must not be called on a machine
//! that is running already.
#![expect(unsafe_code, reason = "system calls that only the first process makes")]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Command, ExitStatus};
use std::time::Duration;
use std::{env, ptr};

use anyhow::{Context, Result, bail};

/// What is mounted, in this order: type and place.
const MOUNTS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// Where the modules are that this machine shall have.
const MODULES: &str = "/lib/modules";

/// Where the disk is mounted that `seaworthy.disk=` on the command line names.
const DISK: &str = "/mnt";

fn main() {
    assert_eq!(process::id(), 1, "this is for the first process only");
    // Whoever measures the time to here waits for this line.
    println!("init: started after {:.3} s", since_boot().as_secs_f64());
    let result = prepare().and_then(|()| run_what_is_asked_for());
    match result {
        Ok(end) => println!("init: {end}"),
        Err(error) => println!("init: error: {error:#}"),
    }
    // SAFETY: no memory is involved.
    unsafe { libc::sync() };
    // SAFETY: nobody else is left, and disks have what was written.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
}

/// How long the kernel has run.
fn since_boot() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the result is valid. The clock is there in every kernel.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn prepare() -> Result<()> {
    for (kind, place) in MOUNTS {
        mount(kind, kind, place).with_context(|| format!("cannot mount {kind} on {place}"))?;
    }
    if let Ok(modules) = fs::read_dir(MODULES) {
        for module in modules {
            let path = module?.path();
            if let Err(error) = insert(&path) {
                // No error yet: einj refuses where firmware has no EINJ table.
                println!("init: {} is not there: {error}", path.display());
            }
        }
    }
    let command_line = fs::read_to_string("/proc/cmdline")?;
    match disk_in(&command_line) {
        Some(disk) => mount(disk, "ext4", DISK).with_context(|| format!("cannot mount {disk}")),
        None => Ok(()),
    }
}

/// The disk that the command line names.
fn disk_in(command_line: &str) -> Option<&str> {
    let mut words = command_line.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix("seaworthy.disk="))
}

fn mount(source: &str, kind: &str, place: &str) -> Result<()> {
    fs::create_dir_all(place)?;
    let source = CString::new(source)?;
    let (kind, place) = (CString::new(kind)?, CString::new(place)?);
    // SAFETY: all strings end with a zero and outlive the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            place.as_ptr(),
            kind.as_ptr(),
            0,
            ptr::null(),
        )
    };
    check(result)?;
    Ok(())
}

/// Has the kernel decompress, if need be, and insert a module.
fn insert(path: &Path) -> Result<()> {
    /// `MODULE_INIT_COMPRESSED_FILE`.
    const COMPRESSED: libc::c_int = 4;
    let is_compressed = path.extension().is_none_or(|extension| extension != "ko");
    let module = File::open(path)?;
    // SAFETY: the descriptor is open, the parameters are an empty string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            module.as_raw_fd(),
            c"".as_ptr(),
            if is_compressed { COMPRESSED } else { 0 },
        )
    };
    check(result.try_into()?)?;
    Ok(())
}

/// Runs the program, or a shell, and says how it ended.
fn run_what_is_asked_for() -> Result<String> {
    // EDK2 puts this at the end of the command line, where it is ours.
    let mut arguments = env::args()
        .skip(1)
        .filter(|argument| argument != "initrd=initrd");
    let mut command = match arguments.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => shell()?,
    };
    command
        .env("PATH", "/bin")
        .env("HOME", "/")
        .env("TERM", "vt100");
    let status = command
        .spawn()
        .and_then(|child| wait_for(child.id()))
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    Ok(format!("{:?} ended: {status}", command.get_program()))
}

/// Waits for a process, and buries all orphans that end before it: they are the first process's.
fn wait_for(wanted: u32) -> io::Result<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the result is valid.
        let ended = check(unsafe { libc::waitpid(-1, &mut status, 0) })?;
        if ended.cast_unsigned() == wanted {
            return Ok(ExitStatus::from_raw(status));
        }
    }
}

/// A shell that owns the console, so that Ctrl-C and job control work.
fn shell() -> Result<Command> {
    const BUSYBOX: &str = "/bin/busybox";
    if !Path::new(BUSYBOX).exists() {
        bail!("no program follows -- on the command line, and there is no {BUSYBOX} for a shell");
    }
    Command::new(BUSYBOX)
        .args(["--install", "-s", "/bin"])
        .status()?;
    let consoles = fs::read_to_string("/sys/class/tty/console/active")?;
    let console = consoles.split_whitespace().last().context("no console")?;
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(console))?;
    // `-c`: the terminal on its standard input becomes its own.
    let mut command = Command::new(BUSYBOX);
    command
        .args(["setsid", "-c", "/bin/sh"])
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    io::stdout().flush()?;
    Ok(command)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
