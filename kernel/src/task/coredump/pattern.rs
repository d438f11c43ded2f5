//! How core files are called: `/proc/sys/kernel/core_pattern`. Linux,
//! `Documentation/admin-guide/sysctl/kernel.rst`.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::error::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::signal::Signal;
use crate::task::{Current, clock, host};

/// The longest pattern in bytes.
const PATTERN_MAX: usize = 127;

/// A pattern, and whether the process's number is always part of the name.
#[derive(Debug)]
struct Names {
    pattern: Vec<u8>,
    uses_pid: bool,
}

static NAMES: SpinLock<Names> = SpinLock::new(Names {
    pattern: Vec::new(),
    uses_pid: false,
});

/// The pattern as long as nobody has set one.
const DEFAULT: &[u8] = b"core";

/// The pattern.
pub fn get() -> Vec<u8> {
    let names = NAMES.lock();
    match &names.pattern[..] {
        [] => DEFAULT.to_vec(),
        // Set to nothing: no dumps.
        b"\0" => Vec::new(),
        set => set.to_vec(),
    }
}

/// Sets it.
///
/// # Errors
///
/// `EINVAL`: it is too long, or names a program to start, which is not supported.
pub fn set(pattern: &[u8]) -> Result<()> {
    if pattern.len() > PATTERN_MAX || pattern.starts_with(b"|") || pattern.contains(&0) {
        return Err(Errno::EINVAL);
    }
    let pattern = match pattern {
        [] => b"\0",
        pattern => pattern,
    };
    let pattern = pattern.to_vec();
    NAMES.lock().pattern = pattern;
    Ok(())
}

/// Whether a name without the process's number gets it (`core_uses_pid`).
pub fn uses_pid() -> bool {
    NAMES.lock().uses_pid
}

/// Sets that.
pub fn set_uses_pid(uses_pid: bool) {
    NAMES.lock().uses_pid = uses_pid;
}

/// The name of the file for the running thread's process, which a signal ends.
pub(super) fn name(thread: &Current, signal: Signal, limit: u64) -> Vec<u8> {
    let process = &thread.process;
    let program = process.executable.lock().clone();
    let path = program.and_then(|path| process.context.name_of(&path));
    let path = path.unwrap_or_default();
    let file = path.rsplit(|byte| *byte == b'/').next();
    let pid = process.id.0.to_string();
    let thread_id = thread.id().0.to_string();
    let command = *thread.name.lock();
    let time = (clock::realtime() / 1_000_000_000).to_string();
    let value = |key| -> Option<Vec<u8>> {
        Some(match key {
            b'%' => b"%".to_vec(),
            b'p' | b'P' => pid.clone().into_bytes(),
            b'i' | b'I' => thread_id.clone().into_bytes(),
            b'u' | b'g' => b"0".to_vec(),
            b'd' => b"1".to_vec(),
            b's' => signal.number().to_string().into_bytes(),
            b't' => time.clone().into_bytes(),
            b'c' => limit.to_string().into_bytes(),
            b'h' => without_slashes(&host::name()),
            b'e' => without_slashes(command.bytes()),
            b'f' => without_slashes(file.unwrap_or_default()),
            b'E' => without_slashes(&path),
            _ => return None,
        })
    };
    let pattern = get();
    let mut name = expand(&pattern, value);
    let has_pid = pattern.windows(2).any(|pair| pair == b"%p");
    if uses_pid() && !has_pid && !name.is_empty() {
        name.push(b'.');
        name.extend_from_slice(pid.as_bytes());
    }
    name
}

/// Puts values in the place of `%` and a letter. One that is not known goes.
fn expand(pattern: &[u8], value: impl Fn(u8) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut name = Vec::new();
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            name.push(byte);
        } else if let Some(key) = bytes.next() {
            name.extend(value(key).unwrap_or_default());
        }
    }
    name
}

/// What is one component of a path, whoever chose it.
fn without_slashes(text: &[u8]) -> Vec<u8> {
    match text {
        b"." | b".." => [b"!", &text[1..]].concat(),
        text => text
            .iter()
            .map(|byte| if *byte == b'/' { b'!' } else { *byte })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{expand, without_slashes};

    #[test]
    fn values_take_the_place_of_letters() {
        let value = |key| match key {
            b'%' => Some(b"%".to_vec()),
            b'p' => Some(b"17".to_vec()),
            _ => None,
        };
        for (pattern, name) in [
            (&b"core"[..], &b"core"[..]),
            (b"/tmp/core.%p", b"/tmp/core.17"),
            (b"%p%%%p", b"17%17"),
            (b"a%xb", b"ab"),
            (b"a%", b"a"),
            (b"", b""),
        ] {
            assert_eq!(expand(pattern, value), name);
        }
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        assert_eq!(without_slashes(b"/bin/../x"), b"!bin!..!x");
        assert_eq!(without_slashes(b".."), b"!.");
        assert_eq!(without_slashes(b"."), b"!");
    }
}
