//! One line on the terminal that says what is being measured.

use std::fmt;
use std::io::{IsTerminal, stderr};

/// Replaces the line by `what`. Where nobody watches, nothing is written.
pub(crate) fn show(what: fmt::Arguments<'_>) {
    if stderr().is_terminal() {
        // Back to the start of the line, and clear it.
        eprint!("\r\x1b[K{what}");
    }
}

/// Takes the line away.
pub(crate) fn clear() {
    show(format_args!(""));
}

/// Writes a line that stays.
pub(crate) fn note(what: fmt::Arguments<'_>) {
    clear();
    eprintln!("{what}");
}
