//! The `seaworthy` command. Everything is in the library `seaworthy_cli`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    seaworthy_cli::run()
}
