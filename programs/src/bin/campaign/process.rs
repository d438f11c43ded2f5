//! Children of this process, which has one thread.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A child. It is killed when this is dropped, unless it was waited for.
pub(crate) struct Child {
    pid: libc::pid_t,
    /// What it has to say.
    pub(crate) output: PipeReader,
}

/// Runs `body` in a child. What it writes to the pipe is the child's [`output`](Child::output).
///
/// # Errors
///
/// If the system makes no child.
pub(crate) fn fork(body: impl FnOnce(PipeWriter)) -> Result<Child> {
    let (output, writer) = io::pipe().context("cannot make a pipe")?;
    // SAFETY: this process has one thread, so no lock is held by another.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot fork"),
        0 => {
            drop(output);
            body(writer);
            // SAFETY: ends the child without the exit handlers, which are the parent's.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(Child { pid, output }),
    }
}

impl Child {
    /// Everything that the child says until it ends or `limit` is over. `None` if the time is over.
    pub(crate) fn listen(&mut self, limit: Duration) -> Result<Option<String>> {
        let deadline = std::time::Instant::now() + limit;
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if !is_readable(&self.output, left)? {
                continue;
            }
            match self.output.read(&mut buffer)? {
                0 => return Ok(Some(String::from_utf8_lossy(&said).into_owned())),
                length => said.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// One line of what the child says.
    ///
    /// # Errors
    ///
    /// If it ends before or does not say one within `limit`.
    pub(crate) fn line(&mut self, limit: Duration) -> Result<String> {
        let mut line = Vec::new();
        loop {
            if !is_readable(&self.output, limit)? {
                bail!("the other process does not answer");
            }
            let mut byte = [0];
            if self.output.read(&mut byte)? == 0 {
                bail!("the other process ended");
            }
            if byte[0] == b'\n' {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            line.push(byte[0]);
        }
    }

    /// Waits for the child's end. Gives its wait status.
    pub(crate) fn wait(mut self) -> Result<libc::c_int> {
        let pid = std::mem::replace(&mut self.pid, 0);
        reap(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pid != 0 {
            // SAFETY: our child, which nobody has waited for.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            let _ = reap(self.pid);
        }
    }
}

fn reap(pid: libc::pid_t) -> Result<libc::c_int> {
    let mut status = 0;
    // SAFETY: the status is valid; the child is ours.
    let result = unsafe { libc::waitpid(pid, &mut status, 0) };
    if result == pid {
        Ok(status)
    } else {
        Err(io::Error::last_os_error()).context("cannot wait for a child")
    }
}

/// Says one line to the process at the other end.
pub(crate) fn tell(writer: &mut PipeWriter, line: &str) -> Result<()> {
    writeln!(writer, "{line}").context("cannot answer")
}

fn is_readable(pipe: &PipeReader, limit: Duration) -> Result<bool> {
    let mut descriptor = libc::pollfd {
        fd: pipe.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = limit.as_millis().clamp(1, 60_000) as libc::c_int;
    // SAFETY: one valid descriptor.
    match unsafe { libc::poll(&mut descriptor, 1, milliseconds) } {
        -1 => Err(io::Error::last_os_error()).context("cannot wait for a child's words"),
        count => Ok(count > 0),
    }
}
