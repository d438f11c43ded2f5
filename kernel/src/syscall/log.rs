//! `syslog`: the kernel's log, for `dmesg`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Arguments;
use crate::error::{Errno, Result};
use crate::log::{self, Cursor, Next, TEXT_MAX};
use crate::sync::SpinLock;

/// What is to be done. Linux, `linux/syslog.h`.
const CLOSE: i32 = 0;
const OPEN: i32 = 1;
const READ_ALL: i32 = 3;
const READ_CLEAR: i32 = 4;
const CLEAR: i32 = 5;
const CONSOLE_OFF: i32 = 6;
const CONSOLE_ON: i32 = 7;
const CONSOLE_LEVEL: i32 = 8;
const SIZE_BUFFER: i32 = 10;

/// The level that the console has if nobody says anything.
const DEFAULT_LEVEL: u8 = 7;

/// What comes before it was cleared, and is not shown any more.
static CLEARED: SpinLock<Option<Cursor>> = SpinLock::new(None);

pub(super) fn syslog(a: Arguments) -> Result<u64> {
    match a.int(0) {
        CLOSE | OPEN => {}
        what @ (READ_ALL | READ_CLEAR) => {
            let room = usize::try_from(a.int(2)).map_err(|_| Errno::EINVAL)?;
            if a.address(1).is_null() {
                return Err(Errno::EINVAL);
            }
            let text = newest(room)?;
            a.address(1).write(&text)?;
            if what == READ_CLEAR {
                *CLEARED.lock() = Some(log::end());
            }
            return Ok(text.len() as u64);
        }
        CLEAR => *CLEARED.lock() = Some(log::end()),
        CONSOLE_OFF => log::set_console_level(1),
        CONSOLE_ON => log::set_console_level(DEFAULT_LEVEL),
        CONSOLE_LEVEL => match a.int(2) {
            level @ 1..=8 => log::set_console_level(level as u8),
            _ => return Err(Errno::EINVAL),
        },
        SIZE_BUFFER => return Ok(log::capacity() as u64),
        // Readers that wait use /dev/kmsg.
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// The newest whole lines that fit into `room` bytes.
fn newest(room: usize) -> Result<Vec<u8>> {
    let mut cursor = CLEARED.lock().unwrap_or_else(log::oldest);
    let room = room.min(2 * log::capacity());
    let mut lines = Vec::new();
    let mut starts = Vec::new();
    let mut text = [0; TEXT_MAX];
    loop {
        let record = match log::next(&mut cursor, &mut text) {
            Next::End => break,
            Next::Missed => continue,
            Next::Record(record) => record,
        };
        let (seconds, micros) = (record.time / 1_000_000_000, record.time / 1_000 % 1_000_000);
        let text = String::from_utf8_lossy(&text[..record.length]);
        let line = format!("<{}>[{seconds:5}.{micros:06}] {text}\n", record.priority);
        starts.push(lines.len());
        lines.try_reserve(line.len()).map_err(|_| Errno::ENOMEM)?;
        lines.extend_from_slice(line.as_bytes());
    }
    let fits = |start: &usize| lines.len() - start <= room;
    let start = starts.into_iter().find(fits).unwrap_or(lines.len());
    Ok(lines.split_off(start))
}
