//! What these programs print: KTAP, with what was seen as comments.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;

/// Prints what is no result.
pub fn note(text: &str) {
    for line in text.lines() {
        say(&format!("# {line}"));
    }
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
