//! The records of the log that are kept: the newest, in a ring of bytes.

use core::fmt::{self, Write};

/// Bytes that are kept, with a header for each record.
pub(super) const LENGTH: usize = 1 << 17;

/// The longest text of a record, in bytes; the rest is cut off. As Linux's.
pub const TEXT_MAX: usize = 1000;

/// Before each text: its length (2 bytes), its priority (1), the time in nanoseconds (8).
const HEADER: usize = 11;

/// What is known of a record, apart from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number since boot, from 0.
    pub sequence: u64,
    /// The facility (0: the kernel, 1: programs) times 8, and the level (0: an emergency, 7:
    /// debugging): RFC 5424, section 6.2.1.
    pub priority: u8,
    /// Nanoseconds since boot.
    pub time: u64,
    /// Bytes of its text.
    pub length: usize,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the next record.
    sequence: u64,
    /// Where it is, if it is still kept.
    position: u64,
}

/// The records. Positions count all bytes that there ever were.
pub(super) struct Ring {
    bytes: [u8; LENGTH],
    oldest: Cursor,
    end: Cursor,
}

/// A text on its way into the ring.
struct Text<'a> {
    ring: &'a mut Ring,
    length: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().take(TEXT_MAX - self.length) {
            let at = self.ring.end.position + (HEADER + self.length) as u64;
            self.ring.set(at, byte);
            self.length += 1;
        }
        Ok(())
    }
}

impl Ring {
    pub(super) const fn new() -> Self {
        let start = Cursor {
            sequence: 0,
            position: 0,
        };
        Self {
            bytes: [0; LENGTH],
            oldest: start,
            end: start,
        }
    }

    fn set(&mut self, position: u64, byte: u8) {
        self.bytes[(position % LENGTH as u64) as usize] = byte;
    }

    fn get(&self, position: u64) -> u8 {
        self.bytes[(position % LENGTH as u64) as usize]
    }

    fn bytes<const N: usize>(&self, position: u64) -> [u8; N] {
        core::array::from_fn(|index| self.get(position + index as u64))
    }

    fn header(&self, at: Cursor) -> Record {
        Record {
            sequence: at.sequence,
            length: u16::from_le_bytes(self.bytes(at.position)).into(),
            priority: self.get(at.position + 2),
            time: u64::from_le_bytes(self.bytes(at.position + 3)),
        }
    }

    fn after(at: Cursor, record: Record) -> Cursor {
        Cursor {
            sequence: at.sequence + 1,
            position: at.position + (HEADER + record.length) as u64,
        }
    }

    /// Adds a record. The oldest go, as far as there is need of room.
    pub(super) fn add(&mut self, priority: u8, time: u64, text: fmt::Arguments<'_>) {
        let needed = (HEADER + TEXT_MAX) as u64;
        while self.end.position + needed - self.oldest.position > LENGTH as u64 {
            self.oldest = Self::after(self.oldest, self.header(self.oldest));
        }
        let mut into = Text {
            ring: self,
            length: 0,
        };
        // It does not fail: what is too long is cut.
        let _ = into.write_fmt(text);
        let length = into.length;
        let start = self.end;
        let header = (length as u16)
            .to_le_bytes()
            .into_iter()
            .chain([priority])
            .chain(time.to_le_bytes());
        for (byte, position) in header.zip(start.position..) {
            self.set(position, byte);
        }
        self.end = Self::after(start, self.header(start));
    }

    /// Before the oldest record.
    pub(super) fn oldest(&self) -> Cursor {
        self.oldest
    }

    /// After the newest record.
    pub(super) fn end(&self) -> Cursor {
        self.end
    }

    /// The record at a cursor, which moves on, and its text. Nothing if there is none yet.
    pub(super) fn next(&self, cursor: &mut Cursor, text: &mut [u8; TEXT_MAX]) -> Next {
        if cursor.sequence < self.oldest.sequence {
            *cursor = self.oldest;
            return Next::Missed;
        }
        if cursor.sequence >= self.end.sequence {
            return Next::End;
        }
        let record = self.header(*cursor);
        let start = cursor.position + HEADER as u64;
        for (byte, position) in text[..record.length].iter_mut().zip(start..) {
            *byte = self.get(position);
        }
        *cursor = Self::after(*cursor, record);
        Next::Record(record)
    }
}

/// What comes next for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This record.
    Record(Record),
    /// Records that are not kept any more; the reader goes on with the oldest that is.
    Missed,
    /// Nothing, so far.
    End,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cursor, Next, Ring, TEXT_MAX};

    proptest! {
        #[test]
        fn readers_get_what_is_kept_in_order(lengths in prop::collection::vec(0usize..1200, 1..600)) {
            let mut ring = Box::new(Ring::new());
            let mut reader = Cursor::default();
            let mut text = [0; TEXT_MAX];
            for (number, length) in lengths.iter().enumerate() {
                ring.add((number % 8) as u8, number as u64, format_args!("{:x<1$}", "", length));
            }
            let mut missed = 0;
            let mut expected = None;
            loop {
                match ring.next(&mut reader, &mut text) {
                    Next::Missed => missed += 1,
                    Next::Record(record) => {
                        let number = expected.unwrap_or(record.sequence);
                        prop_assert_eq!(record.sequence, number);
                        prop_assert_eq!(record.time, number);
                        prop_assert_eq!(u64::from(record.priority), number % 8);
                        prop_assert_eq!(record.length, lengths[number as usize].min(TEXT_MAX));
                        prop_assert!(text[..record.length].iter().all(|byte| *byte == b'x'));
                        expected = Some(number + 1);
                    }
                    Next::End => break,
                }
            }
            prop_assert_eq!(expected, Some(lengths.len() as u64));
            prop_assert!(missed <= 1);
            prop_assert_eq!(ring.end(), reader);
        }
    }
}
