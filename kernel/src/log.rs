//! The kernel's log: kept in a ring, and shown on the console.

use core::fmt::{self, Write};

use ::log::{LevelFilter, Metadata, Record, set_logger, set_max_level};
pub use ::log::{debug, error, info, trace, warn};

use crate::arch::{console, time};
use crate::sync::SpinLock;

/// Bytes that are kept.
const LENGTH: usize = 1 << 17;

/// The last bytes of the log.
struct Ring {
    bytes: [u8; LENGTH],
    /// How many bytes there ever were.
    end: u64,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring {
    bytes: [0; LENGTH],
    end: 0,
});

impl Write for Ring {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.bytes[(self.end % LENGTH as u64) as usize] = byte;
            self.end += 1;
        }
        Ok(())
    }
}

/// Where the log starts, as far as it is kept, and where it ends: positions, in bytes.
pub fn bounds() -> (u64, u64) {
    let end = RING.lock().end;
    (end.saturating_sub(LENGTH as u64), end)
}

/// Copies from the log, from byte `position` on. Returns how many bytes there were; what is not
/// kept any more is skipped.
pub fn read(position: u64, into: &mut [u8]) -> usize {
    let ring = RING.lock();
    let start = position.max(ring.end.saturating_sub(LENGTH as u64));
    let length = (ring.end.saturating_sub(start) as usize).min(into.len());
    for (offset, byte) in into[..length].iter_mut().enumerate() {
        *byte = ring.bytes[((start + offset as u64) % LENGTH as u64) as usize];
    }
    length
}

/// A line on its way to the console; what does not fit is cut off there, not in the ring.
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

struct Logger;

impl ::log::Log for Logger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let now = time::now();
        let (seconds, micros) = (now / 1_000_000_000, now / 1_000 % 1_000_000);
        let text = format_args!("[{seconds:>5}.{micros:06}] {}\r\n", record.args());
        let mut line = Line {
            bytes: [0; 512],
            length: 0,
        };
        // An error is a line that is cut.
        let _ = line.write_fmt(text);
        // The ring takes everything.
        let _ = RING.lock().write_fmt(format_args!(
            "[{seconds:>5}.{micros:06}] {}\n",
            record.args()
        ));
        console::write(&line.bytes[..line.length]);
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
    use super::{LENGTH, bounds, info, init, read};

    #[test]
    fn the_log_keeps_its_end() {
        init();
        let (_, before) = bounds();
        info!("hello {}", 5);
        let mut text = [0; 256];
        let length = read(before, &mut text);
        let text = String::from_utf8_lossy(&text[..length]);
        assert!(text.contains("hello 5\n"), "{text}");
        for _ in 0..LENGTH / 64 {
            info!("{:64}", "x");
        }
        let (start, end) = bounds();
        assert_eq!(end - start, LENGTH as u64);
        assert_eq!(read(0, &mut [0; 10]), 10);
        assert_eq!(read(end, &mut [0; 10]), 0);
    }
}
