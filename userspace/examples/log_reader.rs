//! A log reader that survives truncation under it.
//!
//! A writer appends lines to a file and now and then truncates it, as log rotation does. A reader
//! maps the file and counts lines meanwhile, slower than the writer. A plain mapping would be its
//! death by SIGBUS; with `SafeMap` it gets an error, looks at the new length, and goes on.
//! Run it with `cargo run --example log_reader`; it ends by itself after a second.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use seaworthy::{AccessError, SafeMap};

const ROUNDS: u32 = 5;
const LINES: u32 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let log = TemporaryFile::create()?;
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| -> Result<Seen, Box<dyn Error>> {
        let writer = scope.spawn(|| {
            let result = write_log(&log.0);
            done.store(true, Ordering::Release);
            result
        });
        let seen = follow(File::open(&log.0)?, &done)?;
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(seen)
    })?;
    println!(
        "read {} lines in {} bytes; the file became shorter {} times, {} times under a read",
        seen.lines, seen.bytes, seen.shorter, seen.failed
    );
    if seen.shorter + seen.failed == 0 {
        return Err("the reader saw no truncation".into());
    }
    Ok(())
}

/// Appends lines, and truncates the file between the rounds.
fn write_log(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    for round in 1..=ROUNDS {
        for line in 1..=LINES {
            writeln!(file, "round {round} line {line}: all is well")?;
            if line % 1000 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        if round < ROUNDS {
            file.set_len(0)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    lines: u64,
    bytes: u64,
    shorter: u32,
    failed: u32,
}

/// Reads what is new until the writer is done.
fn follow(file: File, done: &AtomicBool) -> Result<Seen, Box<dyn Error>> {
    let mut seen = Seen::default();
    let mut map = SafeMap::read_only(file, ..)?;
    let mut next = 0;
    let mut block = [0; 4096];
    loop {
        let last = done.load(Ordering::Acquire);
        let length = map.refresh()?;
        if length < next {
            println!("truncated from at least {next} bytes to {length}: starting again");
            seen.shorter += 1;
            next = 0;
        }
        while next < length {
            let wanted = block.len().min(length - next);
            let result = map.read_at(next, &mut block[..wanted]);
            let arrived = result.map_or_else(|error| error.copied(), |()| wanted);
            let lines = block[..arrived]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            seen.lines += lines as u64;
            seen.bytes += arrived as u64;
            next += arrived;
            match result {
                Ok(()) => {}
                // The page is gone: the file is shorter than it was a moment ago.
                Err(AccessError::Memory(error)) => {
                    println!("at byte {next}: {error}");
                    seen.failed += 1;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            // A reader that cannot keep up has a truncated file under it, sooner or later.
            thread::sleep(Duration::from_millis(1));
        }
        if last {
            return Ok(seen);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A file that is removed at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("log_reader-{}.log", std::process::id()));
        File::create_new(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Nothing is lost if it stays.
        let _ = std::fs::remove_file(&self.0);
    }
}
