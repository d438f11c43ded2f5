//! What the kernel says: its log, and how much memory it has given up.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often the log is looked at while a line is waited for.
const POLL: Duration = Duration::from_millis(20);

/// The kernel's log, from the moment it was opened.
pub struct KernelLog {
    records: File,
    lines: Vec<String>,
}

impl KernelLog {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If `/dev/kmsg` cannot be read.
    pub fn from_now() -> Result<Self> {
        let mut log = Self::open()?;
        log.records
            .seek(SeekFrom::End(0))
            .context("cannot find the end of /dev/kmsg")?;
        Ok(log)
    }

    /// Everything that is still in the kernel's buffer.
    ///
    /// # Errors
    ///
    /// If `/dev/kmsg` cannot be read.
    pub fn since_boot() -> Result<Self> {
        Self::open()
    }

    fn open() -> Result<Self> {
        let records = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        Ok(Self {
            records,
            lines: Vec::new(),
        })
    }

    /// All lines so far.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn lines(&mut self) -> Result<&[String]> {
        // Longer than any record (the kernel's limit is 2 KiB with its properties).
        let mut record = [0; 8192];
        loop {
            match self.records.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    self.lines.extend(message(&text).map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The kernel has overwritten what came next; go on with what it still has.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
        Ok(&self.lines)
    }

    /// Waits until a line satisfies the condition. `None` if the time is over.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn wait_for(
        &mut self,
        limit: Duration,
        condition: impl Fn(&str) -> bool,
    ) -> Result<Option<String>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(line) = self.lines()?.iter().find(|line| condition(line)) {
                return Ok(Some(line.clone()));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }
}

/// The text of a record `level,sequence,time,flags;text`, without the properties that follow.
fn message(record: &str) -> Option<&str> {
    record.split_once(';')?.1.lines().next()
}

/// `HardwareCorrupted` of `/proc/meminfo`: KiB that the kernel has given up.
///
/// # Errors
///
/// If the file cannot be read, or says nothing about it (no `CONFIG_MEMORY_FAILURE`).
pub fn hardware_corrupted() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    text.lines()
        .find_map(|line| line.strip_prefix("HardwareCorrupted:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .context("/proc/meminfo does not count corrupted memory: no CONFIG_MEMORY_FAILURE?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_reduced_to_its_text() {
        let record = "3,411,5000,-;{1}[Hardware Error]: event; recoverable\n SUBSYSTEM=acpi\n";
        assert_eq!(
            message(record),
            Some("{1}[Hardware Error]: event; recoverable")
        );
        assert_eq!(message("not a record"), None);
    }
}
