//! QEMU's own ACPI tables, as its firmware configuration device gives them to a guest.
//!
//! No guest runs: the test reads the device itself, through QEMU's test protocol (one command a
//! line, answered by a line that starts with `OK`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Where `virt` has the device, and its RAM.
const DEVICE: u64 = 0x0902_0000;
const DMA_REGISTER: u64 = DEVICE + 16;
const RAM: u64 = 0x4000_0000;
/// The device's file that lists the others.
const DIRECTORY: u16 = 0x19;

/// A machine that has not started.
pub(crate) struct Qemu {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The version of QEMU that is installed, if one is.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("qemu-system-aarch64")
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(3).map(str::to_owned)
}

impl Qemu {
    /// `folder` is for a file of the machine's.
    pub(crate) fn start(cpus: u32, folder: &Path) -> Self {
        // Any firmware: with one, QEMU has devices that it otherwise has not.
        let firmware = folder.join("firmware.bin");
        std::fs::write(&firmware, [0; 4]).unwrap();
        let machine = "virt,virtualization=on,gic-version=3,acpi=on,ras=off";
        let mut process = Command::new("qemu-system-aarch64")
            .args(["-machine", machine, "-cpu", "max", "-m", "128M"])
            .arg("-smp")
            .arg(cpus.to_string())
            .arg("-bios")
            .arg(firmware)
            .args(["-nodefaults", "-display", "none", "-S", "-qtest", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            commands: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    pub(crate) fn acpi_table(&mut self, signature: [u8; 4]) -> Vec<u8> {
        let tables = self.file("etc/acpi/tables");
        let mut rest = tables.as_slice();
        while rest[..4] != signature {
            rest = &rest[table_length(rest)..];
        }
        rest[..table_length(rest)].to_vec()
    }

    /// One of the device's files. Numbers are big-endian.
    fn file(&mut self, name: &str) -> Vec<u8> {
        let count = self.read(DIRECTORY, 4);
        let count = u32::from_be_bytes(count.try_into().unwrap()) as usize;
        let directory = self.read(DIRECTORY, 4 + 64 * count);
        let is_it = |file: &&[u8]| {
            let text = &file[8..];
            text.starts_with(name.as_bytes()) && text[name.len()] == 0
        };
        let file = directory[4..].chunks_exact(64).find(is_it).unwrap();
        let length = u32::from_be_bytes(file[..4].try_into().unwrap());
        let selector = u16::from_be_bytes(file[4..6].try_into().unwrap());
        self.read(selector, length as usize)
    }

    /// Has the device copy a file to RAM, and reads it there.
    fn read(&mut self, selector: u16, length: usize) -> Vec<u8> {
        const SELECT: u32 = 1 << 3;
        const READ: u32 = 1 << 1;
        const DATA: u64 = RAM + 0x1000;
        let control = u32::from(selector) << 16 | SELECT | READ;
        let mut request = Vec::from(control.to_be_bytes());
        request.extend((length as u32).to_be_bytes());
        request.extend(DATA.to_be_bytes());
        self.write(RAM, &request);
        self.write(DMA_REGISTER, &RAM.to_be_bytes());
        let answer = self.command(&format!("read {DATA:#x} {length:#x}"));
        let digits = answer.strip_prefix("0x").unwrap().as_bytes();
        let byte =
            |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        digits.chunks_exact(2).map(byte).collect()
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.command(&format!("write {address:#x} {:#x} 0x{digits}", bytes.len()));
    }

    fn command(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer = line.trim_end().strip_prefix("OK");
        let answer = answer.unwrap_or_else(|| panic!("QEMU answers {line:?} to {command}"));
        answer.trim_start().to_owned()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn table_length(table: &[u8]) -> usize {
    u32::from_le_bytes(table[4..8].try_into().unwrap()) as usize
}
