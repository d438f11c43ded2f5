//! The Seaworthy kernel: see `ARCHITECTURE.md`, "The kernel".
#![cfg_attr(target_os = "none", no_std, no_main)]

// The library holds all of the kernel, with its entry point.
#[cfg(target_os = "none")]
use kernel as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "The kernel runs at EL1: build it for aarch64-unknown-none-softfloat, or let \
         `cargo seaworthy run` do it."
    );
    std::process::exit(1);
}
