//! Bad arguments to every system call: the kernel must answer as Linux does.
//!
//! Run on Linux it checks the table; run on our kernel it checks the kernel. Prints KTAP. An
//! argument is a part of the rows' text, to run only those.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use programs::errno::{ground, table};
use programs::output::say;
use programs::system_call::is_seaworthy;

fn main() -> Result<ExitCode> {
    let slot = ground::prepare()?;
    let on_ours = is_seaworthy()?;
    let wanted = env::args().nth(1).unwrap_or_default();
    let rows: Vec<_> = table()
        .into_iter()
        .filter(|row| row.text.contains(&wanted))
        .collect();
    say(&format!("KTAP version 1\n1..{}", rows.len()));
    let mut has_failed = false;
    for (number, row) in (1..).zip(&rows) {
        let text = row.text;
        match row.check(slot, on_ours) {
            Ok(None) => say(&format!("ok {number} {text}")),
            Ok(Some(reason)) => say(&format!("ok {number} {text} # on purpose: {reason}")),
            Err(error) => {
                has_failed = true;
                say(&format!("not ok {number} {text} # {error:#}"));
            }
        }
    }
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
