//! `cargo seaworthy linux --transcript FILE`: records a session on a stock Linux for readers who
//! have no time to run one.
//!
//! Nothing is edited but what is invisible, and what would differ from run to run without need is
//! switched off beforehand: times in the log, and the random placement of kernel and programs.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::Command;
use crate::linux::{Boot, Parts, counted};
use crate::machine::{End, Machine};

/// Time for any one step, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the shell prompts with.
const PROMPT: &str = "linux# ";

/// A question to the terminal, in the middle of the shell's output.
const WHERE_IS_THE_CURSOR: &str = "\x1b[6n";

/// Errors and worse, without times; nothing where chance puts it; restart after a panic, which
/// ends the recording.
const COMMAND_LINE: &str = "loglevel=4 printk.time=0 nokaslr norandmaps";

/// Boots and records. The machine is that of `boot`, but with ACPI.
///
/// # Errors
///
/// If the machine does not start, or does anything else than the transcript is about. Then nothing
/// is written.
pub(super) fn record(file: &Path, parts: &Parts, boot: &Boot) -> Result<()> {
    let boot = Boot {
        acpi: true,
        command_line: COMMAND_LINE.to_owned(),
        ..boot.clone()
    };
    let mut session = Session::begin(parts.start(&boot)?)?;
    let kernel = session.run("uname -rm")?;
    let tables = session.run("dmesg | grep -E 'HEST|EINJ|BERT|Table Upgrade'")?;
    ensure!(
        tables.contains("EINJ: Error INJection is initialized"),
        "Linux has no EINJ:\n{tables}"
    );
    session.run("cd /sys/kernel/debug/apei/einj")?;
    let load = [
        session.inject("load")?,
        session.run("kill -USR1 $!; wait")?,
        session.run("grep HardwareCorrupted /proc/meminfo")?,
    ]
    .concat();
    for text in ["BUS_MCEERR_AR", "recovery action for", "ok 1 load"] {
        ensure!(
            load.contains(text),
            "a load does not give {text:?}:\n{load}"
        );
    }
    let write = [
        session.run("sysctl -w kernel.panic_on_oops=1")?,
        session.inject("write")?,
        session.run_to_the_end("kill -USR1 $!; wait")?,
    ]
    .concat();
    for text in ["synchronous external abort", "Kernel panic - not syncing"] {
        ensure!(
            write.contains(text),
            "write(2) does not kill with {text:?}:\n{write}"
        );
    }
    let monitor = counted(&session.machine)?;
    let text = Document {
        boot: &boot,
        kernel: &kernel,
        tables: &tables,
        load: &load,
        write: &write,
        monitor: &monitor,
    }
    .text()?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A shell in a machine.
struct Session {
    machine: Machine,
}

impl Session {
    /// Waits for the shell and gives it a prompt that is found again.
    fn begin(machine: Machine) -> Result<Self> {
        let console = machine.console();
        console.wait_for("init: started", PATIENCE)?;
        console.wait_for("# ", PATIENCE)?;
        // The prompt's text is not in the command, so that its echo is not taken for a prompt.
        console.send(b"PS1='linux''# '\n")?;
        console.wait_for(&format!("\n{PROMPT}"), PATIENCE)?;
        Ok(Self { machine })
    }

    /// Runs a command. Gives the lines from its prompt to the next.
    fn run(&self, command: &str) -> Result<String> {
        let before = self.machine.console().text().len();
        self.type_line(command)?;
        self.machine
            .console()
            .wait_for(&format!("\n{PROMPT}"), PATIENCE)?;
        Ok(self.lines_since(before))
    }

    /// The same for a command that kills the kernel, which then restarts.
    fn run_to_the_end(&mut self, command: &str) -> Result<String> {
        let before = self.machine.console().text().len();
        self.type_line(command)?;
        let end = self.machine.wait(Some(PATIENCE), None)?;
        let lines = self.lines_since(before);
        ensure!(matches!(end, End::Reset), "{end}:\n{lines}");
        Ok(lines)
    }

    /// Has a test wait, and injects an error where it says.
    fn inject(&self, scenario: &str) -> Result<String> {
        // The pause lets the test speak before the next prompt.
        let mut text = self.run(&format!("ras --by hand --no-log {scenario} & sleep 1"))?;
        let address = text
            .split_once("inject at ")
            .and_then(|(_, rest)| rest.split_once(','))
            .map(|(address, _)| address.to_owned());
        let Some(address) = address else {
            bail!("the test does not say where to inject:\n{text}");
        };
        for (value, name) in [
            ("0x10", "error_type"),
            ("2", "flags"),
            (address.as_str(), "param1"),
            ("0xffffffffffffffc0", "param2"),
            ("1", "notrigger"),
            ("1", "error_inject"),
        ] {
            text += &self.run(&format!("echo {value} > {name}"))?;
        }
        Ok(text)
    }

    fn type_line(&self, line: &str) -> Result<()> {
        self.machine.console().send(format!("{line}\n").as_bytes())
    }

    /// From the prompt before to the last complete line, without what is invisible: carriage
    /// returns, spaces at line ends, and what the shell asks of its terminal.
    fn lines_since(&self, before: usize) -> String {
        let text = self.machine.console().text();
        let new = text.get(before..).unwrap_or_default();
        let new = format!("{PROMPT}{new}").replace(WHERE_IS_THE_CURSOR, "");
        let lines = new.trim_end_matches(PROMPT).lines();
        lines.flat_map(|line| [line.trim_end(), "\n"]).collect()
    }
}

/// What is written.
struct Document<'a> {
    boot: &'a Boot,
    kernel: &'a str,
    tables: &'a str,
    load: &'a str,
    write: &'a str,
    monitor: &'a str,
}

impl Document<'_> {
    fn text(&self) -> Result<String> {
        let qemu = Command::new("qemu-system-aarch64")
            .arg("--version")
            .capture()?;
        let qemu = qemu.lines().next().unwrap_or_default();
        let mut text = format!(
            "# A stock Linux meets memory errors\n\n\
             Recorded by `cargo seaworthy linux --cpu {} --smp {} --transcript FILE`, which boots\n\
             Debian's kernel on the monitor through EDK2, with ACPI. {qemu}.\n\n\
             `ras` is in `programs/`; with `--by hand` it says where its memory is and waits. The shell\n\
             is in `/sys/kernel/debug/apei/einj`. Times in the log and random placement were switched\n\
             off (`{COMMAND_LINE}`); nothing else was changed.\n",
            self.boot.processor, self.boot.cpus
        );
        let sections = [
            ("The kernel", "As Debian ships it.", self.kernel),
            (
                "Its firmware",
                "The tables come with the RAM disk; the registers and records that they name are the\n\
                 monitor's.",
                self.tables,
            ),
            (
                "A program loads from a failing line",
                "EINJ makes the line fail, a load meets it, firmware's record explains the abort, the page\n\
                 is given up, and the program hears of it: SIGBUS with `BUS_MCEERR_AR` (4), one page (lsb 12).",
                self.load,
            ),
            (
                "The kernel loads from such a line, for write(2)",
                "The same error, met by the kernel on the program's behalf. This Linux's copy cannot fail in\n\
                 that way. Without `panic_on_oops`, which many servers set, only the task would die, and\n\
                 keep the locks that it holds.",
                self.write,
            ),
        ];
        for (title, introduction, session) in sections {
            write!(
                text,
                "\n## {title}\n\n{introduction}\n\n```text\n{}\n```\n",
                session.trim_end()
            )?;
        }
        write!(
            text,
            "\n## What the monitor counted\n\n```text\n{}\n```\n",
            self.monitor
        )?;
        Ok(text)
    }
}
