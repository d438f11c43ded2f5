//! Simulated RAM: bytes, with poison at line granularity.

use std::boxed::Box;
use std::mem::take;
use std::sync::{Mutex, MutexGuard};
use std::vec::Vec;

use super::machine::{FIRST_FRAME, LINE, locked};
use crate::{PAGE_SIZE, Pfn, Poisoned};

pub(super) type Page = Box<[u8; PAGE_SIZE]>;

const LINES: usize = PAGE_SIZE / LINE;
const _: () = assert!(LINES == u64::BITS as usize, "one bit for each line");

/// A frame.
#[derive(Debug, Default)]
struct Contents {
    /// `None` until somebody looks.
    bytes: Option<Page>,
    /// One bit for each unreadable line.
    poison: u64,
}

impl Contents {
    /// What never was written is noise, so that nobody gets away with using it.
    fn bytes(&mut self) -> &mut [u8; PAGE_SIZE] {
        self.bytes
            .get_or_insert_with(|| Box::new([0xa5; PAGE_SIZE]))
    }

    /// How many of `length` bytes from `offset` are readable.
    fn readable(&self, offset: usize, length: usize) -> usize {
        let lost = self.poison & lines(offset / LINE, (offset + length).div_ceil(LINE));
        match lost {
            0 => length,
            _ => (lost.trailing_zeros() as usize * LINE).saturating_sub(offset),
        }
    }

    /// A line that is written as a whole heals.
    fn store(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.bytes()[offset..end].copy_from_slice(bytes);
        self.poison &= !lines(offset.div_ceil(LINE), end / LINE);
    }
}

/// The bits of the lines from `start` up to but not including `end`.
fn lines(start: usize, end: usize) -> u64 {
    match end.saturating_sub(start) {
        0 => 0,
        count => u64::MAX >> (LINES - count) << start,
    }
}

#[derive(Debug)]
pub(super) struct Ram {
    /// From [`FIRST_FRAME`].
    frames: Vec<Mutex<Contents>>,
    /// Frames of which a poisoned line was loaded, by anyone.
    consumed: Mutex<Vec<Pfn>>,
}

impl Ram {
    pub(super) fn new(frames: u32) -> Self {
        Self {
            frames: (0..frames).map(|_| Mutex::default()).collect(),
            consumed: Mutex::default(),
        }
    }

    fn frame(&self, pfn: Pfn) -> MutexGuard<'_, Contents> {
        locked(&self.frames[(pfn.0 - FIRST_FRAME) as usize])
    }

    /// Two frames, locked in one order by everyone.
    fn pair(&self, one: Pfn, other: Pfn) -> [MutexGuard<'_, Contents>; 2] {
        assert_ne!(one, other, "a page is copied to or compared with itself");
        if one < other {
            [one, other].map(|pfn| self.frame(pfn))
        } else {
            let [other, one] = [other, one].map(|pfn| self.frame(pfn));
            [one, other]
        }
    }

    fn outcome(&self, pfn: Pfn, readable: usize, wanted: usize) -> Result<(), Poisoned> {
        if readable == wanted {
            return Ok(());
        }
        locked(&self.consumed).push(pfn);
        Err(Poisoned {
            pfn,
            done: readable,
        })
    }

    pub(super) fn load(&self, pfn: Pfn, offset: usize, into: &mut [u8]) -> Result<(), Poisoned> {
        let readable = {
            let mut frame = self.frame(pfn);
            let readable = frame.readable(offset, into.len());
            into[..readable].copy_from_slice(&frame.bytes()[offset..offset + readable]);
            readable
        };
        self.outcome(pfn, readable, into.len())
    }

    /// What a frame holds, poisoned or not: for the oracle, not for a CPU.
    pub(super) fn peek(&self, pfn: Pfn) -> [u8; PAGE_SIZE] {
        *self.frame(pfn).bytes()
    }

    pub(super) fn store(&self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        self.frame(pfn).store(offset, bytes);
    }

    pub(super) fn copy(&self, to: Pfn, from: Pfn) -> Result<(), Poisoned> {
        let readable = {
            let [mut to, mut from] = self.pair(to, from);
            let readable = from.readable(0, PAGE_SIZE);
            to.store(0, &from.bytes()[..readable]);
            readable
        };
        self.outcome(from, readable, PAGE_SIZE)
    }

    /// Whether two pages are equal; only readable bytes are looked at.
    pub(super) fn compare(&self, left: Pfn, right: Pfn) -> Result<bool, Poisoned> {
        let (equal, readable) = {
            let [mut one, mut other] = self.pair(left, right);
            let readable = [&one, &other].map(|side| side.readable(0, PAGE_SIZE));
            (one.bytes() == other.bytes(), readable)
        };
        self.outcome(left, readable[0], PAGE_SIZE)?;
        self.outcome(right, readable[1], PAGE_SIZE)?;
        Ok(equal)
    }

    /// What `look` says of a page that is all readable.
    pub(super) fn look<R>(
        &self,
        pfn: Pfn,
        look: impl FnOnce(&[u8; PAGE_SIZE]) -> R,
    ) -> Result<R, Poisoned> {
        let mut frame = self.frame(pfn);
        let readable = frame.readable(0, PAGE_SIZE);
        self.outcome(pfn, readable, PAGE_SIZE)?;
        Ok(look(frame.bytes()))
    }

    pub(super) fn poison(&self, pfn: Pfn, line: usize) {
        self.frame(pfn).poison |= 1 << (line % LINES);
    }

    /// All of the frame becomes readable.
    pub(super) fn heal(&self, pfn: Pfn) {
        self.frame(pfn).poison = 0;
    }

    /// A frame with a poisoned line: whichever is number `number`, counted round and round.
    pub(super) fn any_poisoned(&self, number: usize) -> Option<Pfn> {
        let poisoned = || {
            self.frames
                .iter()
                .enumerate()
                .filter(|(_, frame)| locked(frame).poison != 0)
        };
        let number = number.checked_rem(poisoned().count())?;
        let (index, _) = poisoned().nth(number)?;
        Some(Pfn(FIRST_FRAME + index as u64))
    }

    pub(super) fn take_consumed(&self) -> Vec<Pfn> {
        take(&mut *locked(&self.consumed))
    }
}
