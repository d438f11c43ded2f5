//! How many instructions one call executes, counted by the emulator.
//!
//! It translates one instruction at a time and logs each that it runs, within the addresses of
//! the function and of the loop that calls it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::image::{EMULATOR, Function, Image};
use crate::memory::Alignment;
use crate::probe;

/// The instructions of one call of `name` at each of `places`.
///
/// # Errors
///
/// If the emulator cannot be run, or its log is not understood.
pub(super) fn instructions(
    image: &Image,
    name: &str,
    places: &[(usize, Alignment)],
) -> Result<Vec<usize>> {
    let function = |name: &str| {
        let found = image.function(name);
        found.with_context(|| format!("the program has no {name}"))
    };
    let (callee, caller) = (function(name)?, function(probe::LOOP)?);
    let range = |function: &Function| {
        let Function { addresses, words } = function;
        format!("{:#x}+{:#x}", addresses.start, words.len() * 4)
    };
    let places_argument: Vec<String> = places.iter().map(probe::argument).collect();
    let output = Command::new(EMULATOR)
        .args(["-one-insn-per-tb", "-d", "exec,nochain", "-dfilter"])
        .arg(format!("{},{}", range(callee), range(caller)))
        .arg(&image.program)
        .args(["--call", name, "--at", &places_argument.join(",")])
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {EMULATOR}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let last = log.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "{EMULATOR} failed: {last}");
    let counts = calls(log.lines().filter_map(program_counter), callee, caller);
    ensure!(
        counts.len() == places.len(),
        "{} calls of {name} in the log of {EMULATOR}, not {}",
        counts.len(),
        places.len()
    );
    Ok(counts)
}

/// `Trace 0: 0x7fee48000100 [81009331/0000000000247b40/00000001/00000201]`: the second number.
fn program_counter(line: &str) -> Option<u64> {
    let (_, numbers) = line.strip_prefix("Trace ")?.split_once('[')?;
    u64::from_str_radix(numbers.split('/').nth(1)?, 16).ok()
}

/// How many instructions of `callee` lie between one of `caller` and the next: one number for
/// each call. Others may call it too: after that, `caller` starts from its beginning, or never.
fn calls(
    program_counters: impl Iterator<Item = u64>,
    callee: &Function,
    caller: &Function,
) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut count = 0;
    for pc in program_counters {
        if callee.addresses.contains(&pc) {
            count += 1;
        } else if caller.addresses.contains(&pc) {
            if count > 0 && pc != caller.addresses.start {
                counts.push(count);
            }
            count = 0;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read() {
        let line = "Trace 0: 0x7fee48000100 [81009331/0000000000247b40/00000001/00000201] main";
        assert_eq!(program_counter(line), Some(0x24_7b40));
        assert_eq!(program_counter("memcpy failed"), None);
        assert_eq!(program_counter("Trace 0: 0x7fee48000100"), None);
    }

    #[test]
    fn only_calls_from_the_loop_count() {
        let function = |start| Function {
            addresses: start..start + 0x100,
            words: vec![0; 64],
        };
        let (callee, caller) = (function(0x1000), function(0x2000));
        let log = [
            0x1000, 0x1004, // Someone else, before.
            0x2000, 0x2004, 0x1000, 0x1004, 0x1008, 0x2008, // Three instructions.
            0x1000, // Someone else, between.
            0x2000, 0x2004, 0x1000, 0x2008, 0x1000, // One, and someone else after.
        ];
        assert_eq!(calls(log.into_iter(), &callee, &caller), [3, 1]);
    }
}
