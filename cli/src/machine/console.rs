//! The serial port of a machine: kept, shown, waited for, typed at.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};
use nix::unistd;

use crate::machine::Output;

/// Bytes that are kept. Older ones are forgotten.
const KEPT: usize = 4 << 20;

/// What the user types to leave, Ctrl-A x, as in QEMU.
const ESCAPE: u8 = 0x01;

/// The serial port of a machine.
pub(crate) struct Console {
    shared: Arc<Shared>,
    /// What the guest prints comes out of it.
    pipe: Arc<ChildStdout>,
    input: Arc<Mutex<ChildStdin>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the guest has printed: the last [`KEPT`] bytes of it.
    text: Vec<u8>,
    /// Bytes forgotten before `text`.
    forgotten: usize,
    /// Up to here, counted from the first byte of all, `wait_for` has looked.
    searched: usize,
    last_output: Option<Instant>,
    has_ended: bool,
    has_left: bool,
}

impl Console {
    /// Starts to read what the guest prints. `log` gets a copy of it all.
    pub(super) fn new(
        input: ChildStdin,
        output: ChildStdout,
        show: Output,
        log: Option<File>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let pipe = Arc::new(output);
        let (reader, from) = (Arc::clone(&shared), Arc::clone(&pipe));
        thread::spawn(move || reader.read(&from, show, log));
        Self {
            shared,
            pipe,
            input: Arc::new(Mutex::new(input)),
        }
    }

    /// What the guest has printed since the machine started, or the last 4 MiB of it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().text).into_owned()
    }

    /// What the guest has printed from byte `position` on, counted from the first byte of all and as
    /// far as it is kept; and the position behind it.
    pub(crate) fn since(&self, position: usize) -> (String, usize) {
        let state = self.shared.lock();
        let start = position.saturating_sub(state.forgotten);
        let text = state.text.get(start..).unwrap_or_default();
        (
            String::from_utf8_lossy(text).into_owned(),
            state.forgotten + state.text.len(),
        )
    }

    /// Waits until there is something behind byte `position`, or the end of it all, at most for
    /// `limit`.
    pub(crate) fn await_more(&self, position: usize, limit: Duration) {
        let is_quiet =
            |state: &mut State| !state.has_ended && state.forgotten + state.text.len() <= position;
        let state = self.shared.lock();
        drop(
            self.shared
                .changed
                .wait_timeout_while(state, limit, is_quiet),
        );
    }

    /// The last lines, for a report.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<_> = text.lines().rev().take(count).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    /// When the guest last printed something.
    pub(crate) fn last_output(&self) -> Option<Instant> {
        self.shared.lock().last_output
    }

    /// Waits until the guest has printed `text`, behind where the last call found its own.
    /// Returns the line that has it, as far as it is there.
    ///
    /// # Errors
    ///
    /// If it does not come within `limit`, or the machine ends before; the message has the last
    /// lines.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if let Some(line) = state.find(text.as_bytes()) {
                return Ok(line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.has_ended || left.is_zero() {
                let why = if state.has_ended {
                    "the machine ended".to_owned()
                } else {
                    format!("{} s passed", limit.as_secs_f64())
                };
                drop(state);
                let last = self.last_lines(20).join("\n");
                bail!("{why} before the guest printed {text:?}; its last lines:\n{last}");
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until everything that QEMU has written is part of the text.
    pub(super) fn settle(&self) {
        // The reader holds the lock from taking bytes out of the pipe until they are in the text.
        let is_settled = || {
            let state = self.shared.lock();
            state.has_ended || !is_readable(&self.pipe, PollTimeout::ZERO)
        };
        while !is_settled() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Types.
    ///
    /// # Errors
    ///
    /// If QEMU has ended.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        type_at(&self.input, bytes).context("nobody reads what is typed: QEMU has ended")
    }

    /// From now on, what the user types goes to the guest, every key of it if it comes from a
    /// terminal. Ctrl-A x leaves (then [`super::Machine::wait`] says so); Ctrl-A twice is Ctrl-A.
    /// The terminal is as before when the returned value is dropped.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be switched.
    pub(crate) fn attach_terminal(&self) -> Result<Terminal> {
        let terminal = Terminal::raw()?;
        let (shared, input) = (Arc::clone(&self.shared), Arc::clone(&self.input));
        let has_escape = io::stdin().is_terminal();
        thread::spawn(move || forward(io::stdin(), has_escape, &shared, &input));
        Ok(terminal)
    }

    /// Whether the user has left with Ctrl-A x.
    pub(super) fn has_left(&self) -> bool {
        self.shared.lock().has_left
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, pipe: &ChildStdout, show: Output, mut log: Option<File>) {
        let mut buffer = [0; 4096];
        loop {
            is_readable(pipe, PollTimeout::NONE);
            let mut state = self.lock();
            let Ok(length @ 1..) = unistd::read(pipe, &mut buffer) else {
                state.has_ended = true;
                break;
            };
            let bytes = &buffer[..length];
            state.append(bytes);
            drop(state);
            self.changed.notify_all();
            if show == Output::Shown {
                let mut stdout = io::stdout().lock();
                // A closed standard output does not stop the machine.
                let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
            }
            if let Some(file) = &mut log
                && let Err(error) = file.write_all(bytes)
            {
                eprintln!("the console's log is not complete: {error}");
                log = None;
            }
        }
        self.changed.notify_all();
    }
}

/// Waits until there is something to read, or the end.
fn is_readable(pipe: &ChildStdout, limit: PollTimeout) -> bool {
    let mut pipes = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut pipes, limit).is_ok_and(|count| count > 0)
}

impl State {
    fn append(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.last_output = Some(Instant::now());
        // By halves, so that each byte is moved once.
        if self.text.len() > 2 * KEPT {
            let excess = self.text.len() - KEPT;
            self.text.drain(..excess);
            self.forgotten += excess;
        }
    }

    /// Looks for `text` behind what has been searched.
    fn find(&mut self, text: &[u8]) -> Option<String> {
        let start = self.searched.saturating_sub(self.forgotten);
        let unread = self.text.get(start..).unwrap_or_default();
        let Some(found) = unread.windows(text.len()).position(|window| window == text) else {
            // The text may have begun.
            let tail = text.len().saturating_sub(1).min(unread.len());
            self.searched = self.forgotten + self.text.len() - tail;
            return None;
        };
        let end = start + found + text.len();
        self.searched = self.forgotten + end;
        let is_break = |&byte: &u8| byte == b'\n';
        let begin = self.text[..start + found]
            .iter()
            .rposition(is_break)
            .map_or(0, |at| at + 1);
        let rest = &self.text[end..];
        let end = end + rest.iter().position(is_break).unwrap_or(rest.len());
        let line = String::from_utf8_lossy(&self.text[begin..end]);
        Some(line.trim_end_matches('\r').to_owned())
    }
}

fn type_at(input: &Mutex<ChildStdin>, bytes: &[u8]) -> io::Result<()> {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    input.write_all(bytes)?;
    input.flush()
}

/// Types what comes in, until it ends or has the escape.
fn forward(mut from: impl Read, has_escape: bool, shared: &Shared, input: &Mutex<ChildStdin>) {
    let mut was_escape = false;
    let mut byte = [0];
    while let Ok(1) = from.read(&mut byte) {
        match byte[0] {
            ESCAPE if has_escape && !was_escape => {
                was_escape = true;
                continue;
            }
            b'x' if was_escape => {
                shared.lock().has_left = true;
                shared.changed.notify_all();
                return;
            }
            _ => was_escape = false,
        }
        if type_at(input, &byte).is_err() {
            return;
        }
    }
}

/// The user's terminal while it is raw; as before once this is dropped.
pub(crate) struct Terminal {
    _private: (),
}

/// How the terminal was before it became raw. Here, so that a signal's handler finds it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Terminal {
    fn raw() -> Result<Self> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let before = termios::tcgetattr(&stdin).context("cannot ask for terminal settings")?;
            let mut raw = before.clone();
            termios::cfmakeraw(&mut raw);
            // Line breaks of QEMU's and our own output still begin at the left.
            raw.output_flags = before.output_flags;
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw)
                .context("cannot make the terminal raw")?;
        }
        Ok(Self { _private: () })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Gives the user's terminal back as it was, if it was made raw.
pub(super) fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // There is nobody to tell that it failed.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::process::Process;

    const AMPLE: Duration = Duration::from_secs(30);

    fn console(script: &str) -> (Console, Process) {
        let started = Process::start("sh", &["-c".to_owned(), script.to_owned()]).unwrap();
        let console = Console::new(started.input, started.output, Output::Hidden, None);
        (console, started.process)
    }

    #[test]
    fn finds_follow_each_other() {
        let (console, _process) = console("printf 'one ab\\ntwo ab\\n'; read a; echo three $a ab");
        assert_eq!(console.wait_for("ab", AMPLE).unwrap(), "one ab");
        assert_eq!(console.wait_for("ab", AMPLE).unwrap(), "two ab");
        console.send(b"x\n").unwrap();
        assert!(
            console
                .wait_for("ab", AMPLE)
                .unwrap()
                .starts_with("three x")
        );
        let error = console.wait_for("ab", AMPLE).unwrap_err().to_string();
        assert!(
            error.contains("ended") && error.contains("three x ab"),
            "{error}"
        );
        assert_eq!(console.last_lines(2), ["two ab", "three x ab"]);
        console.await_more(7, AMPLE);
        let (text, end) = console.since(7);
        assert_eq!(text, "two ab\nthree x ab\n");
        assert_eq!(console.since(end), (String::new(), end));
    }

    #[test]
    fn a_text_that_does_not_come_is_an_error_in_time() {
        let (console, _process) = console("echo login; read a");
        let error = console
            .wait_for("never", Duration::from_millis(100))
            .unwrap_err();
        assert!(error.to_string().contains("login"), "{error}");
    }

    #[test]
    fn a_text_in_two_pieces_is_found() {
        let mut state = State::default();
        state.append(b"log");
        assert_eq!(state.find(b"login"), None);
        state.append(b"in: ");
        assert_eq!(state.find(b"login").as_deref(), Some("login: "));
        assert_eq!(state.find(b"login"), None);
    }

    #[test]
    fn old_text_is_forgotten_and_new_text_found() {
        let mut state = State::default();
        state.append(&vec![b'.'; 2 * KEPT]);
        assert_eq!(state.find(b"end"), None);
        state.append(b"\nend");
        assert_eq!(state.text.len(), KEPT);
        assert_eq!(state.find(b"end").as_deref(), Some("end"));
    }

    #[test]
    fn the_escape_leaves_and_doubled_is_typed() {
        let (console, _process) = console("cat");
        let typed: &[u8] = b"a\x01\x01b\n\x01xc\n";
        forward(typed, true, &console.shared, &console.input);
        assert!(console.has_left());
        assert_eq!(console.wait_for("b", AMPLE).unwrap(), "a\u{1}b");
    }
}
