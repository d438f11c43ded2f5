//! The acceptance guest: see `ARCHITECTURE.md`, "The monitor".
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "it is a kernel: registers, tables and accesses that abort"
    )
)]

#[cfg(target_os = "none")]
mod check;
#[cfg(target_os = "none")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "The acceptance guest runs at EL1: build it for aarch64-unknown-none-softfloat, or let \
         `cargo seaworthy test` do it."
    );
    std::process::exit(1);
}
