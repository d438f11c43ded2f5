//! What these programs print: KTAP, with what was seen as comments.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use anyhow::Result;

/// Prints what is no result.
pub fn note(text: &str) {
    for line in text.lines() {
        say(&format!("# {line}"));
    }
}

/// Runs a test for each seed, and prints the results.
pub fn test_seeds(
    name: &str,
    seeds: &[u64],
    mut test: impl FnMut(u64) -> Result<String>,
) -> ExitCode {
    say(&format!("KTAP version 1\n1..{}", seeds.len()));
    let mut end = ExitCode::SUCCESS;
    for (number, seed) in (1..).zip(seeds) {
        let (result, detail) = match test(*seed) {
            Ok(summary) => ("ok", summary),
            Err(error) => {
                end = ExitCode::FAILURE;
                ("not ok", format!("{error:#}"))
            }
        };
        say(&format!(
            "{result} {number} {name} of seed {seed} # {detail}"
        ));
    }
    end
}

/// Prints a line, and waits until a serial console has sent it: what the kernel prints next shall
/// stand behind it, and a kernel that dies shall not take it along.
pub fn say(line: &str) {
    let mut output = io::stdout();
    // Nobody is left to tell if this fails.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    if output.is_terminal() {
        // SAFETY: the descriptor is open.
        let _ = unsafe { libc::tcdrain(output.as_raw_fd()) };
    }
}
