//! Running other programs: shown before they run, live output, and an end in bounded time.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often a silent child is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How long output may stay away once the child has ended, before nothing more is expected.
const QUIET: Duration = Duration::from_secs(1);

/// The process group of the child that [`Command::stream`] is running.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// A program with its arguments and environment. Displayed as a line for a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    input: Option<String>,
}

/// How a streamed command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed, with everything it had started, because its time was over.
    TimedOut,
}

impl Command {
    pub(crate) fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: None,
        }
    }

    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds an argument right after the first, which for cargo is the subcommand.
    pub(crate) fn option(mut self, argument: impl Into<String>) -> Self {
        self.arguments.insert(1, argument.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Gives the program one line to read. Without, it reads nothing.
    pub(crate) fn input(mut self, line: &str) -> Self {
        self.input = Some(format!("{line}\n"));
        self
    }

    /// The same as root, by sudo.
    pub(crate) fn with_sudo(self) -> Self {
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut arguments = Vec::new();
        if !self.environment.is_empty() {
            // sudo clears the environment.
            arguments.push("env".to_owned());
            arguments.extend(environment);
        }
        arguments.push(self.program);
        arguments.extend(self.arguments);
        Self {
            program: "sudo".to_owned(),
            arguments,
            environment: Vec::new(),
            ..self
        }
    }

    fn prepare(&self) -> process::Command {
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Runs a quick query silently and returns its standard output.
    ///
    /// # Errors
    ///
    /// If the program is not there or does not exit with 0; the message has what it wrote to
    /// standard error.
    pub(crate) fn capture(&self) -> Result<String> {
        let output = self
            .prepare()
            .output()
            .with_context(|| format!("cannot run `{self}`"))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`{self}` failed ({}): {}",
                output.status,
                message.trim_end()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs with this process's own terminal until it ends.
    ///
    /// # Errors
    ///
    /// If the program is not there.
    pub(crate) fn hand_over(&self) -> Result<ExitStatus> {
        self.prepare()
            .stdin(Stdio::inherit())
            .status()
            .with_context(|| format!("cannot run `{self}`"))
    }

    /// Runs and passes on each line, of standard output and standard error alike, as it comes.
    ///
    /// After `limit` the program is killed together with everything it started.
    ///
    /// # Errors
    ///
    /// If the program is not there or its output cannot be read.
    pub(crate) fn stream(&self, limit: Duration, mut line: impl FnMut(&str)) -> Result<End> {
        let deadline = Instant::now() + limit;
        let (reader, mut child) = self
            .spawn()
            .with_context(|| format!("cannot run `{self}`"))?;
        let lines = read_lines(reader);
        let end = loop {
            match lines.recv_timeout(POLL) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Timeout) => {}
                // All of the output is there; wait for the status without burning a processor.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
            }
            // Not the end of the output but that of the child: something the child leaves behind
            // in the background may hold the pipe open for ever.
            if let Some(status) = child.try_wait()? {
                break End::Exited(status);
            }
            if Instant::now() >= deadline {
                kill(group(&child));
                child.wait()?;
                break End::TimedOut;
            }
        };
        set_running(None);
        while let Ok(text) = lines.recv_timeout(QUIET) {
            line(&text);
        }
        Ok(end)
    }

    /// Starts the program in a process group of its own, both outputs on one pipe so that their
    /// lines keep their order.
    fn spawn(&self) -> io::Result<(PipeReader, Child)> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.prepare();
        // Behind the pipe, cargo cannot see that its output ends up on a terminal.
        if io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        command
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        if self.input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn()?;
        set_running(Some(group(&child)));
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), &self.input) {
            // A line fits into the pipe; whether the program reads it shows in its status.
            let _ = pipe.write_all(input.as_bytes());
        }
        Ok((reader, child))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(input) = &self.input {
            write!(formatter, "echo {} | ", quote(input.trim_end()))?;
        }
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", quote(value))?;
        }
        formatter.write_str(&quote(&self.program))?;
        for argument in &self.arguments {
            write!(formatter, " {}", quote(argument))?;
        }
        Ok(())
    }
}

/// From now on, a signal that ends this process also ends the child it is running, and first
/// runs `clean_up`.
///
/// A child in a process group of its own does not see the terminal's Ctrl-C.
///
/// # Errors
///
/// If the system refuses the signal handler.
pub(crate) fn end_children_with_us(clean_up: fn()) -> Result<()> {
    ctrlc::set_handler(move || {
        clean_up();
        if let Some(group) = *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) {
            kill(group);
        }
        eprintln!("interrupted");
        // What a shell reports for a program that SIGINT ended.
        process::exit(130);
    })
    .context("cannot install a handler for Ctrl-C")
}

fn set_running(group: Option<Pid>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = group;
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Kills a process group. One that has just ended by itself is what was wanted.
fn kill(group: Pid) {
    let _ = killpg(group, Signal::SIGKILL);
}

fn read_lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line);
            if sender
                .send(text.trim_end_matches(['\n', '\r']).to_owned())
                .is_err()
            {
                break;
            }
            line.clear();
        }
    });
    receiver
}

/// Quotes a word for a POSIX shell if it needs that.
fn quote(word: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./=:,+@%".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ample, and still an end if the code under test does not see the end of a child.
    const AMPLE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[test]
    fn displays_as_a_line_for_a_shell() {
        let command = Command::new("cargo")
            .args(["doc", "--no-deps", "it's", ""])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            command.to_string(),
            r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s' ''"
        );
    }

    #[test]
    fn sudo_keeps_environment_and_input() {
        let command = Command::new("tee")
            .arg("f")
            .input("a b")
            .env("X", "1")
            .with_sudo();
        assert_eq!(command.to_string(), "echo 'a b' | sudo env X=1 tee f");
    }

    #[test]
    fn a_program_reads_its_input_and_nothing_else() {
        let mut lines = Vec::new();
        let mut line = |line: &str| lines.push(line.to_owned());
        Command::new("cat")
            .input("a")
            .stream(AMPLE, &mut line)
            .unwrap();
        Command::new("cat").stream(AMPLE, &mut line).unwrap();
        assert_eq!(lines, ["a"]);
    }

    #[test]
    fn an_option_goes_behind_the_subcommand() {
        let command = Command::new("cargo")
            .args(["clippy", "--", "-D"])
            .option("-Zx");
        assert_eq!(command.to_string(), "cargo clippy -Zx -- -D");
    }

    #[test]
    fn capture_returns_standard_output_or_says_what_failed() {
        assert_eq!(shell("echo a; echo b >&2").capture().unwrap(), "a\n");
        let error = shell("echo reason >&2; exit 3")
            .capture()
            .unwrap_err()
            .to_string();
        assert!(error.contains("reason") && error.contains('3'), "{error}");
        let error = Command::new("no-such-program")
            .capture()
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }

    #[test]
    fn stream_keeps_the_order_of_both_outputs() {
        let mut lines = Vec::new();
        let end = shell("echo a; echo b >&2; echo c; exit 3")
            .stream(AMPLE, |line| lines.push(line.to_owned()))
            .unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        assert!(matches!(end, End::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn stream_passes_on_a_last_line_without_a_line_break() {
        let mut lines = Vec::new();
        shell("printf a")
            .stream(AMPLE, |line| lines.push(line.to_owned()))
            .unwrap();
        assert_eq!(lines, ["a"]);
    }

    #[test]
    fn a_hang_is_killed_with_everything_it_started() {
        let start = Instant::now();
        let mut grandchild = None;
        let end = shell("sleep 60 & echo $!; wait")
            .stream(Duration::from_millis(500), |line| {
                grandchild = line.parse::<i32>().ok();
            })
            .unwrap();
        assert_eq!(end, End::TimedOut);
        assert!(start.elapsed() < AMPLE);
        // A killed process stays visible until the system's first process has collected it.
        let grandchild = Path::new("/proc").join(grandchild.unwrap().to_string());
        let gone =
            || std::fs::read(grandchild.join("cmdline")).map_or(true, |text| text.is_empty());
        while !gone() && start.elapsed() < AMPLE {
            thread::sleep(POLL);
        }
        assert!(gone());
    }

    #[test]
    fn a_process_left_in_the_background_does_not_hold_the_command_up() {
        let start = Instant::now();
        let end = shell("sleep 3 & exit 0").stream(AMPLE, |_| {}).unwrap();
        assert!(matches!(end, End::Exited(status) if status.success()));
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
