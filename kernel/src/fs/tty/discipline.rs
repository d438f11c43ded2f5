//! The line discipline: what becomes of each byte that is typed.
//!
//! No input, no output, no waiting: a byte goes in, and it says what to show, whom to signal and
//! whether a reader has something to read.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::termios::{Input, Key, Local, Termios};
use crate::task::signal::Signal;

/// How much input is kept until someone reads it, in bytes.
pub(super) const CAPACITY: usize = 4096;

const BELL: u8 = 7;
const BACKSPACE: u8 = 8;

/// What is to be done after a byte came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Shown on the terminal.
    pub echo: Vec<u8>,
    /// Sent to the foreground group.
    pub signal: Option<Signal>,
    /// There is more to read.
    pub wake: bool,
}

/// Input that waits for a reader, and how the terminal is set.
#[derive(Debug, Default)]
pub struct Discipline {
    termios: Termios,
    bytes: VecDeque<u8>,
    /// The lengths of the finished lines at the front of `bytes`. The rest is being edited.
    lines: VecDeque<usize>,
    finished: usize,
    /// The next byte is just that.
    literal: bool,
}

impl Discipline {
    /// How the terminal is set.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Sets it. Input that is there is kept: without lines all of it can be read.
    pub fn set_termios(&mut self, termios: Termios) {
        let was = self.termios.local.contains(Local::CANONICAL);
        self.termios = termios;
        if was != termios.local.contains(Local::CANONICAL) {
            self.lines.clear();
            self.finished = 0;
            if !was && !self.bytes.is_empty() {
                self.finish_line();
            }
        }
    }

    fn local(&self, flag: Local) -> bool {
        self.termios.local.contains(flag)
    }

    fn is_canonical(&self) -> bool {
        self.local(Local::CANONICAL)
    }

    /// How many bytes can be read now.
    pub fn available(&self) -> usize {
        if self.is_canonical() {
            self.finished
        } else {
            self.bytes.len()
        }
    }

    /// Whether a read would find something: bytes, or the end of the input.
    pub fn is_readable(&self) -> bool {
        if self.is_canonical() {
            !self.lines.is_empty()
        } else {
            !self.bytes.is_empty()
        }
    }

    /// Takes up to `most` bytes: at most a line, if input comes by lines.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        if !self.is_canonical() {
            let count = most.min(self.bytes.len());
            return self.bytes.drain(..count).collect();
        }
        let Some(line) = self.lines.front_mut() else {
            return Vec::new();
        };
        let count = most.min(*line);
        *line -= count;
        if *line == 0 {
            self.lines.pop_front();
        }
        self.finished -= count;
        self.bytes.drain(..count).collect()
    }

    /// Drops all input.
    pub fn flush(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.finished = 0;
    }

    /// Takes a byte from the line.
    pub fn receive(&mut self, byte: u8) -> Effects {
        let mut effects = Effects::default();
        let Some(byte) = self.translate(byte) else {
            return effects;
        };
        if core::mem::take(&mut self.literal) {
            self.store(byte, &mut effects);
        } else if self.local(Local::SIGNALS)
            && let Some(signal) = self.signal(byte)
        {
            if !self.local(Local::NO_FLUSH) {
                self.flush();
            }
            self.echo(byte, &mut effects);
            effects.signal = Some(signal);
        } else if self.is_canonical() {
            self.edit(byte, &mut effects);
        } else {
            self.store(byte, &mut effects);
            effects.wake = true;
        }
        effects
    }

    fn translate(&self, byte: u8) -> Option<u8> {
        let input = self.termios.input;
        let byte = if input.contains(Input::STRIP) {
            byte & 0x7f
        } else {
            byte
        };
        match byte {
            b'\r' if input.contains(Input::IGNORE_RETURN) => None,
            b'\r' if input.contains(Input::RETURN_TO_NEWLINE) => Some(b'\n'),
            b'\n' if input.contains(Input::NEWLINE_TO_RETURN) => Some(b'\r'),
            byte => Some(byte),
        }
    }

    fn signal(&self, byte: u8) -> Option<Signal> {
        [
            (Key::Interrupt, Signal::SIGINT),
            (Key::Quit, Signal::SIGQUIT),
            (Key::Suspend, Signal::SIGTSTP),
        ]
        .into_iter()
        .find_map(|(key, signal)| self.termios.is(byte, key).then_some(signal))
    }

    fn edit(&mut self, byte: u8, effects: &mut Effects) {
        let is = |key| self.termios.is(byte, key);
        let extended = self.local(Local::EXTENDED);
        if is(Key::Erase) {
            self.erase_character(effects);
        } else if is(Key::Kill) {
            self.erase_line(effects);
        } else if extended && is(Key::EraseWord) {
            self.erase_word(effects);
        } else if extended && is(Key::Literal) {
            self.literal = true;
            if self.local(Local::ECHO) && self.local(Local::ECHO_CONTROL) {
                effects.echo.extend_from_slice(&[b'^', BACKSPACE]);
            }
        } else if is(Key::EndOfFile) {
            self.finish_line();
            effects.wake = true;
        } else {
            let ends = byte == b'\n' || is(Key::EndOfLine) || (extended && is(Key::EndOfLine2));
            self.store(byte, effects);
            if ends {
                self.finish_line();
                effects.wake = true;
            }
        }
    }

    fn store(&mut self, byte: u8, effects: &mut Effects) {
        // Room is left for the end of a line that is too long.
        let full = self.bytes.len() >= CAPACITY - usize::from(byte != b'\n');
        if full {
            effects.echo.push(BELL);
            return;
        }
        self.bytes.push_back(byte);
        self.echo(byte, effects);
    }

    fn finish_line(&mut self) {
        if self.lines.len() == CAPACITY {
            return;
        }
        self.lines.push_back(self.bytes.len() - self.finished);
        self.finished = self.bytes.len();
    }

    fn echo(&self, byte: u8, effects: &mut Effects) {
        if byte == b'\n' && (self.local(Local::ECHO) || self.local(Local::ECHO_NEWLINE)) {
            self.termios.show(byte, &mut effects.echo);
        } else if self.local(Local::ECHO) {
            if self.local(Local::ECHO_CONTROL) && self.is_shown_as_control(byte) {
                effects.echo.extend_from_slice(&[b'^', byte ^ 0x40]);
            } else {
                self.termios.show(byte, &mut effects.echo);
            }
        }
    }

    fn is_shown_as_control(&self, byte: u8) -> bool {
        byte.is_ascii_control() && byte != b'\t' && byte != b'\n'
    }

    /// Takes back the last byte of the line that is edited.
    fn take_back(&mut self) -> Option<u8> {
        if self.bytes.len() == self.finished {
            return None;
        }
        self.bytes.pop_back()
    }

    fn erase_character(&mut self, effects: &mut Effects) -> Option<u8> {
        let mut byte = self.take_back()?;
        // The bytes after the first of a character of several.
        while self.termios.input.contains(Input::UTF8) && byte & 0xc0 == 0x80 {
            byte = self.take_back()?;
        }
        if self.local(Local::ECHO) && self.local(Local::ECHO_ERASE) {
            let shown = self.local(Local::ECHO_CONTROL) && self.is_shown_as_control(byte);
            let columns = if shown { 2 } else { 1 };
            for _ in 0..columns {
                effects
                    .echo
                    .extend_from_slice(&[BACKSPACE, b' ', BACKSPACE]);
            }
        } else {
            self.echo(self.termios.key(Key::Erase), effects);
        }
        Some(byte)
    }

    fn erase_word(&mut self, effects: &mut Effects) {
        let mut in_word = false;
        while self.bytes.len() > self.finished
            && let Some(last) = self.bytes.back()
        {
            let space = *last == b' ' || *last == b'\t';
            if space && in_word {
                break;
            }
            in_word |= !space;
            self.erase_character(effects);
        }
    }

    fn erase_line(&mut self, effects: &mut Effects) {
        if self.local(Local::ECHO_KILL_ERASE) && self.local(Local::ECHO_ERASE) {
            while self.erase_character(effects).is_some() {}
            return;
        }
        while self.take_back().is_some() {}
        self.echo(self.termios.key(Key::Kill), effects);
        if self.local(Local::ECHO_KILL) {
            self.echo(b'\n', effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(discipline: &mut Discipline, bytes: &[u8]) -> (String, Vec<Signal>) {
        let mut shown = Vec::new();
        let mut signals = Vec::new();
        for byte in bytes {
            let effects = discipline.receive(*byte);
            shown.extend(effects.echo);
            signals.extend(effects.signal);
        }
        (String::from_utf8(shown).unwrap(), signals)
    }

    fn change(discipline: &mut Discipline, change: impl FnOnce(&mut Termios)) {
        let mut termios = discipline.termios();
        change(&mut termios);
        discipline.set_termios(termios);
    }

    #[test]
    fn lines_are_read_one_by_one() {
        let mut discipline = Discipline::default();
        let (shown, _) = type_in(&mut discipline, b"first\rsecond");
        assert_eq!(shown, "first\r\nsecond");
        assert!(discipline.is_readable());
        assert_eq!(discipline.available(), 6);
        assert_eq!(discipline.read(2), b"fi");
        assert_eq!(discipline.read(99), b"rst\n");
        assert!(!discipline.is_readable());
        assert_eq!(discipline.read(99), b"");
        type_in(&mut discipline, b"\nthird\n");
        assert_eq!(discipline.read(99), b"second\n");
        assert_eq!(discipline.read(99), b"third\n");
    }

    #[test]
    fn the_line_can_be_edited() {
        let mut discipline = Discipline::default();
        let (shown, _) = type_in(&mut discipline, b"ab\x7f\x01\x7f");
        assert_eq!(shown, "ab\x08 \x08^A\x08 \x08\x08 \x08");
        type_in(&mut discipline, "c ö\x7f\x7f\x7f\x7f\x7f".as_bytes());
        type_in(&mut discipline, b"one two  \x17three\n");
        assert_eq!(discipline.read(99), b"one three\n");
        let (shown, _) = type_in(&mut discipline, b"xy\x15z\x16\x15\n");
        assert_eq!(shown, "xy\x08 \x08\x08 \x08z^\x08^U\r\n");
        assert_eq!(discipline.read(99), b"z\x15\n");
        // What is finished cannot be erased.
        type_in(&mut discipline, b"done\n\x7f\x15\x17");
        assert_eq!(discipline.read(99), b"done\n");
    }

    #[test]
    fn end_of_file_ends_a_line_or_the_input() {
        let mut discipline = Discipline::default();
        type_in(&mut discipline, b"part\x04\x04");
        assert_eq!(discipline.read(99), b"part");
        assert!(discipline.is_readable());
        assert_eq!(discipline.read(99), b"");
        assert!(!discipline.is_readable());
    }

    #[test]
    fn keys_send_signals_and_drop_the_input() {
        let mut discipline = Discipline::default();
        let (shown, signals) = type_in(&mut discipline, b"abc\x03\x1c\x1a\n");
        assert_eq!(shown, "abc^C^\\^Z\r\n");
        assert_eq!(signals, [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP]);
        assert_eq!(discipline.read(99), b"\n");
        change(&mut discipline, |termios| {
            termios.local.remove(Local::SIGNALS);
        });
        let (_, signals) = type_in(&mut discipline, b"\x03\n");
        assert_eq!(signals, []);
        assert_eq!(discipline.read(99), b"\x03\n");
    }

    #[test]
    fn raw_input_comes_at_once() {
        let mut discipline = Discipline::default();
        type_in(&mut discipline, b"line\nedited");
        change(&mut discipline, |termios| {
            termios.local = Local::empty();
            termios.input = Input::empty();
        });
        assert_eq!(discipline.available(), 11);
        let (shown, signals) = type_in(&mut discipline, b"\r\x03\x7f");
        assert_eq!((shown.as_str(), signals), ("", vec![]));
        assert_eq!(discipline.read(99), b"line\nedited\r\x03\x7f");
        type_in(&mut discipline, b"left");
        change(&mut discipline, |termios| *termios = Termios::default());
        assert_eq!(discipline.read(99), b"left");
    }

    #[test]
    fn a_full_buffer_rings_and_still_ends_lines() {
        let mut discipline = Discipline::default();
        let (shown, _) = type_in(&mut discipline, &[b'x'; CAPACITY + 3]);
        assert!(shown.ends_with("x\x07\x07\x07\x07"));
        type_in(&mut discipline, b"\n");
        assert_eq!(discipline.read(9999).len(), CAPACITY);
        // Ends of the input alone take no room, and no memory without end either.
        type_in(&mut discipline, &[4; 3 * CAPACITY]);
        assert!(discipline.lines.len() <= CAPACITY);
    }

    #[test]
    fn settings_have_the_layout_of_linux() {
        let termios = Termios::default();
        let bytes = termios.to_bytes();
        assert_eq!(Termios::from_bytes(&bytes), termios);
        assert_eq!(&bytes[16..23], &[0, 3, 0x1c, 0x7f, 0x15, 4, 0]);
        assert_eq!(
            u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            0o105_073
        );
    }
}
