//! QEMU as a child process that cannot outlive this one.

use std::cell::OnceCell;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{self, Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// A child process and the thread that started it.
///
/// The kernel kills the child when *the thread* that started it ends (PR_SET_PDEATHSIG), whatever
/// ends it. So that thread does nothing but wait for the child.
pub(super) struct Process {
    pid: Pid,
    /// Whether the child has been collected; from then on its number may be another's.
    is_collected: Arc<Mutex<bool>>,
    exit: Receiver<ExitStatus>,
    /// What came out of `exit`.
    status: OnceCell<Option<ExitStatus>>,
    /// What it wrote to standard error.
    words: Arc<Mutex<String>>,
    /// Ends when there is no more of it.
    words_end: Receiver<()>,
}

/// A process with the pipes of its standard input and output.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
}

impl Process {
    /// Starts a program. It gets a process group of its own, so that Ctrl-C in the terminal is for
    /// this process alone.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn start(program: &str, arguments: &[String]) -> Result<Started> {
        // `setpriv` of util-linux becomes the program, after asking for the signal.
        let mut command = process::Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let (ready, started) = mpsc::sync_channel(1);
        let (ended, exit) = mpsc::channel();
        let is_collected = Arc::new(Mutex::new(false));
        let collected = Arc::clone(&is_collected);
        thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let pid = pid_of(&child);
                let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
                if ready.send(Ok((pid, pipes))).is_ok() {
                    let status = collect(&mut child, pid, &collected);
                    // Nobody may be waiting any more.
                    let _ = status.map(|status| ended.send(status));
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        });
        let (pid, pipes) = started
            .recv()
            .context("the thread that starts QEMU ended")?
            .context("cannot run `setpriv`, which is in the package util-linux")?;
        let (Some(input), Some(output), Some(errors)) = pipes else {
            unreachable!("all three are piped");
        };
        let (words, words_end) = collect_words(errors);
        Ok(Started {
            process: Self {
                pid,
                is_collected,
                exit,
                status: OnceCell::new(),
                words,
                words_end,
            },
            input,
            output,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Waits for its end, at most for `limit`. Gives its status, which is `None` in the unlikely
    /// case that the system would not tell.
    pub(super) fn wait(&self, limit: Duration) -> Option<Option<ExitStatus>> {
        if self.status.get().is_none() {
            let status = match self.exit.recv_timeout(limit) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => None,
            };
            return Some(*self.status.get_or_init(|| status));
        }
        self.status.get().copied()
    }

    /// What it has written to standard error so far, on one line: all of it, if it has ended.
    pub(super) fn words(&self) -> String {
        if self.status.get().is_some() {
            // At most for a while: a child of its own might have the pipe, and live on.
            let _ = self.words_end.recv_timeout(LAST_WORDS);
        }
        lock(&self.words)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Ends it at once, if it has not ended.
    pub(super) fn kill(&self) {
        let is_collected = lock(&self.is_collected);
        if !*is_collected {
            // It can only fail for one that has just ended.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Waits for the end of the child, and collects it while nobody can be about to kill it.
fn collect(child: &mut Child, pid: Pid, is_collected: &Mutex<bool>) -> Option<ExitStatus> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(pid), flags) == Err(nix::Error::EINTR) {}
    let mut is_collected = lock(is_collected);
    *is_collected = true;
    child.wait().ok()
}

/// How long to wait for the rest of what an ended process wrote.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn collect_words(mut errors: impl Read + Send + 'static) -> (Arc<Mutex<String>>, Receiver<()>) {
    let words = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&words);
    let (until_here, end) = mpsc::channel();
    thread::spawn(move || {
        let _until_here = until_here;
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = errors.read(&mut buffer) {
            lock(&shared).push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    (words, end)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    const AMPLE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Started {
        Process::start("sh", &["-c".to_owned(), script.to_owned()]).unwrap()
    }

    #[test]
    fn pipes_words_and_status_come_back() {
        let mut started = shell("read a; echo got $a; echo why >&2; exit 3");
        started.input.write_all(b"x\n").unwrap();
        let mut output = String::new();
        started.output.read_to_string(&mut output).unwrap();
        assert_eq!(output, "got x\n");
        let status = started.process.wait(AMPLE).unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(started.process.wait(AMPLE), Some(Some(status)));
        assert_eq!(started.process.words(), "why");
    }

    #[test]
    fn it_lives_as_long_as_its_handle_even_if_the_thread_that_asked_for_it_ends() {
        let started = thread::spawn(|| shell("read a")).join().unwrap();
        assert_eq!(started.process.wait(Duration::from_millis(200)), None);
        let start = Instant::now();
        started.process.kill();
        assert!(started.process.wait(AMPLE).unwrap().is_some());
        assert!(start.elapsed() < AMPLE);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let started = Process::start("no-such-program", &[]).unwrap();
        let status = started.process.wait(AMPLE).unwrap().unwrap();
        assert!(!status.success());
        thread::sleep(Duration::from_millis(100));
        let words = started.process.words();
        assert!(words.contains("no-such-program"), "{words}");
    }
}
