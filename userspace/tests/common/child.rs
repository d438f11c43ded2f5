//! Children that may die. By `fork`, because under qemu-user a program cannot execute itself.
//! A child has a copy of every lock, held or not, but not the thread that would release it. So
//! such a test runs in a program whose tests have no threads: see [`testing::without_threads`].

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// A memory error with SIGBUS blocked makes qemu-user spin for ever.
const LIMIT: Duration = Duration::from_secs(20);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The closure returned.
    Returned,
    /// It panicked, or ended otherwise with this code.
    Code(i32),
    Signal(i32),
    TimedOut,
}

/// Runs `work` in a child.
pub(crate) fn run(work: impl FnOnce()) -> End {
    let child = start(work);
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(end) = poll(child, libc::WNOHANG) {
            return end;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // SAFETY: our child, not yet waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    poll(child, 0);
    End::TimedOut
}

/// Starts `work` in a child.
pub(crate) fn start(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child runs on with a copy of everything. A test that has threads of its own has
    // none that holds a lock now.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", io::Error::last_os_error());
    if child != 0 {
        return child;
    }
    no_core();
    // The line below says enough; many panic on purpose.
    std::panic::set_hook(Box::new(|_| ()));
    let code = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(()) => 0,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref().copied());
            let line = format!("in a child: {}\n", text.unwrap_or("panic"));
            let _ = io::stderr().write_all(line.as_bytes());
            101
        }
    };
    // SAFETY: ends the process without running what the parent registered.
    unsafe { libc::_exit(code) }
}

/// Children that die on purpose should not fill the disk.
fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid limit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}

fn poll(child: libc::pid_t, options: i32) -> Option<End> {
    let mut status = 0;
    // SAFETY: our child, and room for the answer.
    if unsafe { libc::waitpid(child, &raw mut status, options) } != child {
        return None;
    }
    let status = ExitStatus::from_raw(status);
    Some(match (status.code(), status.signal()) {
        (Some(0), _) => End::Returned,
        (Some(code), _) => End::Code(code),
        (_, Some(signal)) => End::Signal(signal),
        _ => return None,
    })
}
