//! What programs set of a terminal: `struct termios` and `struct winsize`.

use alloc::vec::Vec;

use bitflags::bitflags;

bitflags! {
    /// `c_iflag`: what becomes of input.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Input: u32 {
        /// The eighth bit is dropped.
        const STRIP = 0o40;
        /// Newline becomes carriage return.
        const NEWLINE_TO_RETURN = 0o100;
        /// Carriage return is dropped.
        const IGNORE_RETURN = 0o200;
        /// Carriage return becomes newline.
        const RETURN_TO_NEWLINE = 0o400;
        /// Erasing knows UTF-8.
        const UTF8 = 0o40000;
        const _ = !0;
    }

    /// `c_oflag`: what becomes of output.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Output: u32 {
        /// The others count.
        const PROCESS = 0o1;
        /// A carriage return goes before each newline.
        const NEWLINE_TO_BOTH = 0o4;
        const _ = !0;
    }

    /// `c_lflag`: how the terminal and its user get on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Local: u32 {
        /// Some keys send signals.
        const SIGNALS = 0o1;
        /// Input comes by lines, which can be edited.
        const CANONICAL = 0o2;
        /// Input is shown.
        const ECHO = 0o10;
        /// An erased character disappears.
        const ECHO_ERASE = 0o20;
        /// An erased line is ended.
        const ECHO_KILL = 0o40;
        /// Newlines are shown even if nothing else is.
        const ECHO_NEWLINE = 0o100;
        /// A key that sends a signal keeps the input.
        const NO_FLUSH = 0o200;
        /// Output of a background process stops it.
        const STOP_OUTPUT = 0o400;
        /// Control characters are shown as `^X`.
        const ECHO_CONTROL = 0o1000;
        /// An erased line disappears.
        const ECHO_KILL_ERASE = 0o4000;
        /// More keys edit.
        const EXTENDED = 0o100_000;
        const _ = !0;
    }
}

/// Which character of `c_cc` does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Key {
    /// `SIGINT`.
    Interrupt = 0,
    /// `SIGQUIT`.
    Quit = 1,
    /// Erases a character.
    Erase = 2,
    /// Erases the line.
    Kill = 3,
    /// Ends the input.
    EndOfFile = 4,
    /// Tenths of a second that a read waits.
    Time = 5,
    /// How many characters a read waits for.
    Minimum = 6,
    /// `SIGTSTP`.
    Suspend = 10,
    /// Ends a line.
    EndOfLine = 11,
    /// Erases a word.
    EraseWord = 14,
    /// The next character is just one.
    Literal = 15,
    /// Ends a line, too.
    EndOfLine2 = 16,
}

const KEYS: usize = 19;

/// The settings of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// Input.
    pub input: Input,
    /// Output.
    pub output: Output,
    /// The line's speed and format: kept, and of no effect.
    pub control: u32,
    /// Editing, echo, signals.
    pub local: Local,
    line: u8,
    keys: [u8; KEYS],
}

impl Default for Termios {
    /// As Linux's for a new terminal, but that control-S and control-Q have no effect.
    fn default() -> Self {
        let mut keys = [0; KEYS];
        for (key, value) in [
            (Key::Interrupt, 3),
            (Key::Quit, 0x1c),
            (Key::Erase, 0x7f),
            (Key::Kill, 0x15),
            (Key::EndOfFile, 4),
            (Key::Minimum, 1),
            (Key::Suspend, 0x1a),
            (Key::EraseWord, 0x17),
            (Key::Literal, 0x16),
        ] {
            keys[key as usize] = value;
        }
        Self {
            input: Input::RETURN_TO_NEWLINE | Input::UTF8,
            output: Output::PROCESS | Output::NEWLINE_TO_BOTH,
            // B38400, CS8, CREAD, HUPCL.
            control: 0o17 | 0o60 | 0o200 | 0o2000,
            local: Local::SIGNALS
                | Local::CANONICAL
                | Local::ECHO
                | Local::ECHO_ERASE
                | Local::ECHO_KILL
                | Local::ECHO_CONTROL
                | Local::ECHO_KILL_ERASE
                | Local::EXTENDED,
            line: 0,
            keys,
        }
    }
}

impl Termios {
    /// The size of the kernel's `struct termios` (`asm-generic/termbits.h`).
    pub const SIZE: usize = 36;

    /// What a key is set to.
    pub fn key(&self, key: Key) -> u8 {
        self.keys[key as usize]
    }

    /// Whether `byte` is this key. A key that is set to zero is off.
    pub fn is(&self, byte: u8, key: Key) -> bool {
        byte != 0 && self.key(key) == byte
    }

    /// Adds a byte of output as the line gets it.
    pub fn show(&self, byte: u8, output: &mut Vec<u8>) {
        let both = Output::PROCESS | Output::NEWLINE_TO_BOTH;
        if byte == b'\n' && self.output.contains(both) {
            output.push(b'\r');
        }
        output.push(byte);
    }

    /// The kernel's layout.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let flags = [
            self.input.bits(),
            self.output.bits(),
            self.control,
            self.local.bits(),
        ];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(flags) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes[16] = self.line;
        bytes[17..].copy_from_slice(&self.keys);
        bytes
    }

    /// From the kernel's layout: any bytes mean something.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |index: usize| {
            let bytes = &bytes[4 * index..4 * index + 4];
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        let mut keys = [0; KEYS];
        keys.copy_from_slice(&bytes[17..]);
        Self {
            input: Input::from_bits_retain(word(0)),
            output: Output::from_bits_retain(word(1)),
            control: word(2),
            local: Local::from_bits_retain(word(3)),
            line: bytes[16],
            keys,
        }
    }
}

/// `struct winsize`: rows, columns, and two sizes in pixels.
pub type WindowSize = [u8; 8];
