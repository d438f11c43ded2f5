//! When an error happened.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A timestamp as records carry it: eight bytes of binary coded decimal.
///
/// UEFI, appendix N, table "Error Record Header", field "Timestamp". The time zone is not stated.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Timestamp {
    second: u8,
    minute: u8,
    hour: u8,
    flags: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
}

/// A [`Timestamp`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Year, 0 to 9999.
    pub year: u16,
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 60: a leap second is legal.
    pub second: u8,
}

impl Timestamp {
    const PRECISE: u8 = 1 << 0;

    /// Makes a timestamp. `precise` says that it is the moment of the error rather than the
    /// moment at which the error was recorded. `None` if a number is out of range.
    pub fn new(time: DateTime, precise: bool) -> Option<Self> {
        let in_range = time.year <= 9999
            && (1..=12).contains(&time.month)
            && (1..=31).contains(&time.day)
            && time.hour <= 23
            && time.minute <= 59
            && time.second <= 60;
        let bcd = |number: u8| ((number / 10) << 4) | (number % 10);
        let [century, year] = [time.year / 100, time.year % 100].map(|part| bcd(part as u8));
        in_range.then(|| Self {
            second: bcd(time.second),
            minute: bcd(time.minute),
            hour: bcd(time.hour),
            flags: u8::from(precise),
            day: bcd(time.day),
            month: bcd(time.month),
            year,
            century,
        })
    }

    /// Whether this is the moment of the error rather than that of the record.
    pub const fn is_precise(self) -> bool {
        self.flags & Self::PRECISE != 0
    }

    /// The time in numbers, or `None` if the bytes are no date.
    pub fn date_time(self) -> Option<DateTime> {
        let number = |bcd: u8| {
            let (tens, ones) = (bcd >> 4, bcd & 0xf);
            (tens <= 9 && ones <= 9).then_some(tens * 10 + ones)
        };
        let time = DateTime {
            year: u16::from(number(self.century)?) * 100 + u16::from(number(self.year)?),
            month: number(self.month)?,
            day: number(self.day)?,
            hour: number(self.hour)?,
            minute: number(self.minute)?,
            second: number(self.second)?,
        };
        Self::new(time, self.is_precise()).map(|_| time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = self.date_time() else {
            return write!(f, "no date: {:02x?}", self.as_bytes());
        };
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )?;
        f.write_str(if self.is_precise() {
            ""
        } else {
            " (imprecise)"
        })
    }
}
