//! What must be after a round as it was before: memory, processes, descriptors, the log, and this
//! program's own memory.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, ensure};

use crate::system_call::is_seaworthy;

/// How much less free memory is no leak, in KiB: caches that have grown, stacks that are kept.
const SLACK: u64 = 4096;
/// Severities of the log. Linux, `linux/kern_levels.h`.
const ERROR: u32 = 3;
const WARNING: u32 = 4;
/// Words of this program's pattern.
const WORDS: usize = 32 << 10;

/// The state to compare with.
#[derive(Debug)]
pub struct Health {
    processes: BTreeSet<u32>,
    descriptors: usize,
    free: u64,
    log: File,
    /// The least severity that is a complaint.
    severity: u32,
    pattern: Vec<u64>,
}

impl Health {
    /// What is now.
    ///
    /// # Errors
    ///
    /// If `/proc` or `/dev/kmsg` cannot be read.
    pub fn now() -> Result<Self> {
        let log = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        let mut health = Self {
            processes: processes()?,
            descriptors: 0,
            free: free_memory()?,
            log,
            // A stock Linux also warns of programs that use what is obsolete.
            severity: if is_seaworthy()? { WARNING } else { ERROR },
            pattern: (0..WORDS as u64).map(word).collect(),
        };
        health.descriptors = descriptors()?;
        // What was said before is nobody's fault.
        health.complaints()?;
        Ok(health)
    }

    /// Takes the free memory of now as the level to come back to.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn settle(&mut self) -> Result<()> {
        self.free = free_memory()?;
        Ok(())
    }

    /// Processes that were not there before.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn strangers(&self) -> Result<Vec<u32>> {
        Ok(processes()?.difference(&self.processes).copied().collect())
    }

    /// How much free memory has gone since, in KiB.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn lost(&self) -> Result<i64> {
        Ok(self.free.cast_signed() - free_memory()?.cast_signed())
    }

    /// Compares.
    ///
    /// # Errors
    ///
    /// If something is not as it was.
    pub fn check(&mut self) -> Result<()> {
        let descriptors = descriptors()?;
        ensure!(
            descriptors == self.descriptors,
            "{} descriptors have become {descriptors}",
            self.descriptors
        );
        for (index, found) in (0..).zip(&self.pattern) {
            ensure!(
                *found == word(index),
                "word {index} of our memory is {found:#x}"
            );
        }
        let lost = self.lost()?;
        ensure!(
            lost <= SLACK.cast_signed(),
            "{lost} KiB of memory do not come back"
        );
        let complaints = self.complaints()?;
        ensure!(
            complaints.is_empty(),
            "the kernel says: {}",
            complaints.join("; ")
        );
        Ok(())
    }

    /// Warnings, and worse, that the kernel has logged since the last time.
    fn complaints(&mut self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut record = [0; 8192];
        loop {
            let length = match self.log.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complaints),
                // Some were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
                Err(error) => return Err(error.into()),
            };
            let text = String::from_utf8_lossy(&record[..length]);
            let Some((head, message)) = text.split_once(';') else {
                continue;
            };
            let priority: u32 = head.split(',').next().unwrap_or_default().parse()?;
            // Programs' own words have another facility than the kernel's, which is 0.
            if priority <= self.severity {
                complaints.push(message.lines().next().unwrap_or_default().to_owned());
            }
        }
    }
}

fn word(index: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5ea5_ea5e
}

fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// All processes but the kernel's own threads, which come and go.
fn processes() -> Result<BTreeSet<u32>> {
    const KERNEL_THREADS: &str = "2";
    let mut all = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        // One that has ended meanwhile is none.
        let (Ok(pid), Ok(stat)) = (
            name.parse(),
            fs::read_to_string(format!("/proc/{name}/stat")),
        ) else {
            continue;
        };
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent != Some(KERNEL_THREADS) && name != KERNEL_THREADS {
            all.insert(pid);
        }
    }
    Ok(all)
}

/// In KiB.
fn free_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number
        .context("/proc/meminfo has no MemAvailable")?
        .parse()?)
}
