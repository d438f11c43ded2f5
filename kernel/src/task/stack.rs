//! What a program finds on its stack: argument count, `argv`, the environment, the auxiliary
//! vector, and the strings they point to. System V ABI, "Process Initialization".

use alloc::vec::Vec;

use crate::error::{Errno, Result};

/// Strings with a zero after each, in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// Adds one, without its zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn push(&mut self, string: &[u8]) -> Result<()> {
        let length = string.len() + 1;
        self.bytes.try_reserve(length).map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// Puts other strings in the place of the first `without`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn replace_first(&mut self, without: usize, by: &[&[u8]]) -> Result<()> {
        let mut strings = Self::default();
        for string in by.iter().copied().chain(self.iter().skip(without)) {
            strings.push(string)?;
        }
        *self = strings;
        Ok(())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes, with the zeros.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The strings, without their zeros.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.bytes.split_last().map_or(&[][..], |(_, all)| all);
        all.split(|byte| *byte == 0).take(self.count)
    }
}

/// What goes on the stack.
#[derive(Debug)]
pub struct Contents<'a> {
    /// `argv`.
    pub arguments: &'a Strings,
    /// The environment.
    pub environment: &'a Strings,
    /// The path of the program (`AT_EXECFN`).
    pub path: &'a [u8],
    /// For `AT_RANDOM`.
    pub random: [u8; 16],
    /// The rest of the auxiliary vector: types and values.
    pub auxiliary: &'a [(u32, u64)],
}

/// What was built.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    /// The bytes from the stack pointer up to the top.
    pub bytes: Vec<u8>,
    /// The initial stack pointer, a multiple of 16.
    pub pointer: u64,
    /// The strings of `argv`: start and end.
    pub arguments: (u64, u64),
    /// The strings of the environment: start and end.
    pub environment: (u64, u64),
    /// The auxiliary vector.
    pub auxiliary: Vec<u8>,
}

/// The name of the machine for `AT_PLATFORM`.
const PLATFORM: &[u8] = b"aarch64\0";

/// Lays out a stack that ends at `top`, a multiple of 16.
///
/// # Errors
///
/// `ENOMEM`.
pub fn build(top: u64, contents: &Contents<'_>) -> Result<Stack> {
    use linux_raw_sys::auxvec::{AT_EXECFN, AT_NULL, AT_PLATFORM, AT_RANDOM};

    // Downwards: eight zeros, the path, the strings, the platform, random bytes; the vectors.
    let path = top - 8 - contents.path.len() as u64 - 1;
    let environment = path - contents.environment.length() as u64;
    let arguments = environment - contents.arguments.length() as u64;
    let platform = arguments - PLATFORM.len() as u64;
    let random = platform - contents.random.len() as u64;
    let own = [
        (AT_RANDOM, random),
        (AT_PLATFORM, platform),
        (AT_EXECFN, path),
        (AT_NULL, 0),
    ];
    let words = 1
        + contents.arguments.count()
        + 1
        + contents.environment.count()
        + 1
        + 2 * (contents.auxiliary.len() + own.len());
    let pointer = (random - words as u64 * 8) & !15;

    let mut bytes = Vec::new();
    let length = (top - pointer) as usize;
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    let word = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(&mut bytes, contents.arguments.count() as u64);
    for (strings, start) in [
        (contents.arguments, arguments),
        (contents.environment, environment),
    ] {
        let mut address = start;
        for string in strings.iter() {
            word(&mut bytes, address);
            address += string.len() as u64 + 1;
        }
        word(&mut bytes, 0);
    }
    let vector = bytes.len();
    for (kind, value) in contents.auxiliary.iter().chain(&own) {
        word(&mut bytes, (*kind).into());
        word(&mut bytes, *value);
    }
    let auxiliary = bytes[vector..].to_vec();
    bytes.resize((random - pointer) as usize, 0);
    bytes.extend_from_slice(&contents.random);
    bytes.extend_from_slice(PLATFORM);
    bytes.extend_from_slice(&contents.arguments.bytes);
    bytes.extend_from_slice(&contents.environment.bytes);
    bytes.extend_from_slice(contents.path);
    bytes.resize(length, 0);
    Ok(Stack {
        bytes,
        pointer,
        arguments: (arguments, environment),
        environment: (environment, path),
        auxiliary,
    })
}

#[cfg(test)]
mod tests {
    use super::{Contents, Stack, Strings, build};

    const TOP: u64 = 0x7fff_0000;

    fn strings(all: &[&str]) -> Strings {
        let mut strings = Strings::default();
        for string in all {
            strings.push(string.as_bytes()).unwrap();
        }
        strings
    }

    impl Stack {
        fn word(&self, index: usize) -> u64 {
            let start = index * 8;
            u64::from_le_bytes(self.bytes[start..start + 8].try_into().unwrap())
        }

        fn string(&self, address: u64) -> &[u8] {
            let start = (address - self.pointer) as usize;
            let length = self.bytes[start..].iter().position(|byte| *byte == 0);
            &self.bytes[start..start + length.unwrap()]
        }
    }

    /// Reads the stack as a C library does.
    #[test]
    fn a_program_finds_everything() {
        let arguments = strings(&["sh", "", "-c"]);
        let environment = strings(&["A=1", "PATH=/bin"]);
        let stack = build(
            TOP,
            &Contents {
                arguments: &arguments,
                environment: &environment,
                path: b"/bin/sh",
                random: [7; 16],
                auxiliary: &[(6, 4096)],
            },
        )
        .unwrap();
        assert_eq!((stack.pointer % 16, stack.word(0)), (0, 3));
        assert_eq!(stack.pointer + stack.bytes.len() as u64, TOP);
        let argv: Vec<_> = (1..4)
            .map(|index| stack.string(stack.word(index)))
            .collect();
        assert_eq!(argv, [&b"sh"[..], b"", b"-c"]);
        assert_eq!((stack.word(4), stack.word(7)), (0, 0));
        assert_eq!(stack.string(stack.word(6)), b"PATH=/bin");
        let auxiliary: Vec<_> = (0..5)
            .map(|pair| (stack.word(8 + 2 * pair), stack.word(9 + 2 * pair)))
            .collect();
        assert_eq!(auxiliary[0], (6, 4096));
        assert_eq!(auxiliary[4], (0, 0));
        let [random, platform, path] = [1, 2, 3].map(|entry| auxiliary[entry]);
        assert_eq!((random.0, platform.0, path.0), (25, 15, 31));
        let random = (random.1 - stack.pointer) as usize;
        assert_eq!(stack.bytes[random..random + 16], [7; 16]);
        assert_eq!(stack.string(platform.1), b"aarch64");
        assert_eq!(stack.string(path.1), b"/bin/sh");
        assert_eq!(stack.arguments.1 - stack.arguments.0, 7);
    }

    #[test]
    fn a_script_gets_its_interpreter_first() {
        let mut arguments = strings(&["script", "x"]);
        arguments
            .replace_first(1, &[b"/bin/sh", b"-e", b"/tmp/script"])
            .unwrap();
        assert_eq!(arguments, strings(&["/bin/sh", "-e", "/tmp/script", "x"]));
        assert_eq!(strings(&[]).iter().count(), 0);
    }
}
