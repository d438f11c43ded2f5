//! The kernel's log: the newest records are kept, and those that matter are shown on the console.

mod ring;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

use ::log::{Level, LevelFilter, Metadata, set_logger, set_max_level};
pub use ::log::{debug, error, info, trace, warn};

pub use self::ring::{Cursor, Next, Record, TEXT_MAX};
use self::ring::{LENGTH, Ring};
use crate::arch::{console, time};
use crate::sync::SpinLock;

static RING: SpinLock<Ring> = SpinLock::new(Ring::new());

/// Records of levels below this one are shown on the console.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(7);

/// How many bytes the log has room for.
pub const fn capacity() -> usize {
    LENGTH
}

/// Before the oldest record that is kept.
pub fn oldest() -> Cursor {
    RING.lock().oldest()
}

/// After the newest record.
pub fn end() -> Cursor {
    RING.lock().end()
}

/// The record at a cursor, which moves on, and its text.
pub fn next(cursor: &mut Cursor, text: &mut [u8; TEXT_MAX]) -> Next {
    RING.lock().next(cursor, text)
}

/// The level below which records are shown on the console: 1 (emergencies) to 8 (all).
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Ordering::Relaxed)
}

/// Sets it. What is out of range becomes the nearest that is in it.
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level.clamp(1, 8), Ordering::Relaxed);
}

/// A number of a level as Linux has them.
fn number(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// A line on its way to the console; what does not fit is cut off there.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let place = self.bytes.get_mut(self.length).ok_or(fmt::Error)?;
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Adds one line.
pub fn add(priority: u8, text: &str) {
    let now = time::now();
    RING.lock().add(priority, now, format_args!("{text}"));
    if priority % 8 >= console_level() {
        return;
    }
    let mut line = Line {
        bytes: [0; 512],
        length: 0,
    };
    let (seconds, micros) = (now / 1_000_000_000, now / 1_000 % 1_000_000);
    // An error is a line that is cut.
    let _ = write!(line, "[{seconds:>5}.{micros:06}] {text}\r\n");
    console::write(&line.bytes[..line.length]);
}

/// Takes a message apart into lines, without a place for all of it.
struct Lines {
    priority: u8,
    bytes: [u8; TEXT_MAX],
    length: usize,
}

impl Lines {
    fn flush(&mut self) {
        let text = core::str::from_utf8(&self.bytes[..self.length]);
        add(self.priority, text.unwrap_or("(not UTF-8)"));
        self.length = 0;
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character == '\n' {
                self.flush();
            } else if self.length + character.len_utf8() <= TEXT_MAX {
                character.encode_utf8(&mut self.bytes[self.length..]);
                self.length += character.len_utf8();
            }
        }
        Ok(())
    }
}

struct Logger;

impl ::log::Log for Logger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        let mut lines = Lines {
            priority: number(record.level()),
            bytes: [0; TEXT_MAX],
            length: 0,
        };
        // It does not fail; what is shown may, and is cut there.
        let _ = lines.write_fmt(*record.args());
        if lines.length > 0 {
            lines.flush();
        }
    }

    fn flush(&self) {}
}

/// Begins to log.
pub fn init() {
    // A second logger is not wanted: the first stays.
    if set_logger(&Logger).is_ok() {
        set_max_level(LevelFilter::Info);
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, TEXT_MAX, end, info, init, next};

    #[test]
    fn each_line_is_a_record() {
        init();
        let mut cursor = end();
        info!("first {}\nsecond line of a test", 5);
        let mut texts = Vec::new();
        let mut text = [0; TEXT_MAX];
        // Other tests log too.
        while let Next::Record(record) = next(&mut cursor, &mut text) {
            let text = String::from_utf8_lossy(&text[..record.length]).into_owned();
            texts.push((record.priority, text));
        }
        let at = |wanted: &str| {
            let found = texts
                .iter()
                .position(|(level, text)| (*level, &**text) == (6, wanted));
            found.unwrap()
        };
        assert!(at("first 5") < at("second line of a test"));
    }
}
