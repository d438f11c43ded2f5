//! `/dev/kmsg`: the kernel's log, one record for each read. Linux,
//! `Documentation/ABI/testing/dev-kmsg`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use crate::arch::time;
use crate::error::{Errno, Result};
use crate::fs::device::Device;
use crate::fs::{FileOperations, OpenFlags, Readiness, Whence};
use crate::log::{self, Cursor, Next, TEXT_MAX};
use crate::memory::{Sink, Source};
use crate::sync::{SpinLock, WaitQueue};

/// Minor number, with major number 1.
pub(super) const MINOR: u32 = 11;

/// How long a reader sleeps before it looks again, in nanoseconds. Nobody wakes it: what is logged
/// may be logged with any lock held.
const POLL: u64 = 50_000_000;

/// A message from a program, if it does not say: a warning.
const DEFAULT_PRIORITY: u8 = 8 + 4;

/// The device.
#[derive(Debug)]
pub(super) struct KernelLog;

impl Device for KernelLog {
    fn open(&self, _: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(Reader {
            cursor: SpinLock::new(log::oldest()),
            queue: WaitQueue::new(),
        }))
    }
}

/// The device, open.
#[derive(Debug)]
struct Reader {
    cursor: SpinLock<Cursor>,
    queue: WaitQueue,
}

impl Reader {
    fn waits(&self) -> bool {
        *self.cursor.lock() == log::end()
    }

    /// The next record as a program reads it.
    fn take(&self) -> Result<Option<String>> {
        let mut text = [0; TEXT_MAX];
        let next = log::next(&mut self.cursor.lock(), &mut text);
        let record = match next {
            Next::End => return Ok(None),
            Next::Missed => return Err(Errno::EPIPE),
            Next::Record(record) => record,
        };
        let micros = record.time / 1_000;
        let mut line = format!("{},{},{micros},-;", record.priority, record.sequence);
        for character in String::from_utf8_lossy(&text[..record.length]).chars() {
            if character.is_ascii_control() || character == '\\' {
                line += &format!("\\x{:02x}", character as u32);
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        Ok(Some(line))
    }
}

impl FileOperations for Reader {
    fn read(&self, _: u64, sink: &mut Sink<'_>, flags: OpenFlags) -> Result<usize> {
        loop {
            let before = *self.cursor.lock();
            if let Some(line) = self.take()? {
                if line.len() > sink.left() {
                    *self.cursor.lock() = before;
                    return Err(Errno::EINVAL);
                }
                sink.put(line.as_bytes())
                    .map_err(|stopped| stopped.errno())?;
                return Ok(line.len());
            }
            if flags.contains(OpenFlags::NON_BLOCKING) {
                return Err(Errno::EAGAIN);
            }
            let deadline = time::now() + POLL;
            self.queue
                .wait_with_deadline(deadline, || (!self.waits()).then_some(()))?;
        }
    }

    /// `<PRIORITY>text`, or only the text.
    fn write(&self, _: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        let length = source.left();
        if length > TEXT_MAX {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; TEXT_MAX];
        let bytes = &mut bytes[..length];
        source.take(bytes).map_err(|stopped| stopped.errno())?;
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches('\n');
        let (priority, text) = prefix(text).unwrap_or((DEFAULT_PRIORITY, text));
        log::add(priority, text);
        Ok(length)
    }

    fn seek(&self, offset: i64, whence: Whence) -> Option<Result<u64>> {
        let place = match whence {
            _ if offset != 0 => return Some(Err(Errno::ESPIPE)),
            Whence::Set => log::oldest(),
            Whence::End => log::end(),
            _ => return Some(Err(Errno::EINVAL)),
        };
        *self.cursor.lock() = place;
        Some(Ok(0))
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::WRITABLE;
        ready.set(Readiness::READABLE, !self.waits());
        ready
    }

    fn waiters(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }
}

/// The priority in angle brackets before a text. A program cannot speak for the kernel.
fn prefix(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    let number: u8 = number.parse().ok()?;
    let facility = (number & !7).max(8);
    Some((facility | number & 7, rest))
}
