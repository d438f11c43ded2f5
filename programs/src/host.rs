//! The monitor, asked by the host: a request is a line on the console, `# monitor` and numbers, and
//! so is the answer, `monitor` and `ok` or what is wrong. For campaigns, where the host listens.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use anyhow::{Context, Result, bail};
use control::{Command, Policy, Request};

use crate::output::note;

/// What begins a request and an answer.
const NAME: &str = "monitor";

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 512;

/// Has the monitor run a command.
///
/// # Errors
///
/// If the monitor refuses, or whoever answers is not a host that knows of this.
pub fn ask(command: Command, address: u64, length: u64, policy: Policy) -> Result<()> {
    let (command, policy) = (command.raw(), policy.bits());
    note(&format!("{NAME} {command} {address:#x} {length} {policy}"));
    let answer = read_line().context("cannot read the host's answer")?;
    match answer.trim().strip_prefix(NAME).map(str::trim) {
        Some("ok") => Ok(()),
        Some(error) => bail!("{error}"),
        None => bail!("the host does not answer but says {answer:?}"),
    }
}

/// The request in a line that a program has printed, if there is one.
#[must_use]
pub fn request(line: &str) -> Option<Request> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    if words.next() != Some(NAME) {
        return None;
    }
    let command = words.next()?.parse().ok()?;
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let length = words.next()?.parse().ok()?;
    let policy = words.next()?.parse().ok()?;
    Some(Request {
        command,
        policy,
        address,
        length,
    })
}

/// The answer to a request.
#[must_use]
pub fn answer(result: Result<(), String>) -> String {
    match result {
        Ok(()) => format!("{NAME} ok\n"),
        Err(error) => format!("{NAME} {}\n", error.replace('\n', " ")),
    }
}

/// Reads standard input up to the end of a line, and no further: who reads it next wants the rest.
fn read_line() -> Result<String> {
    // SAFETY: standard input is open as long as the process lives, and is not closed here.
    let mut input = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDIN_FILENO) });
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_MAX {
        match input.read(&mut byte) {
            Ok(1) if byte != *b"\n" => line.push(byte[0]),
            Ok(_) => break,
            // What was asked for may come as a signal before the answer.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_among_other_lines() {
        assert_eq!(
            request("# monitor 3 0x40a80400 64 5"),
            Some(Request {
                command: 3,
                policy: 5,
                address: 0x40a8_0400,
                length: 64,
            })
        );
        for other in [
            "# ready",
            "monitor 1 0x1 1 1",
            "# monitor 1 2 3 4",
            "# monitor x",
        ] {
            assert_eq!(request(other), None, "{other}");
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(answer(Ok(())), "monitor ok\n");
        assert_eq!(answer(Err("a\nb".to_owned())), "monitor a b\n");
    }
}
