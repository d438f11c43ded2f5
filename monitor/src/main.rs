//! The Seaworthy monitor: see `ARCHITECTURE.md`, "The monitor".
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "it is at EL2: entry, registers, tables and the guest's memory"
    )
)]

#[cfg(target_os = "none")]
mod el2;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "The monitor runs at EL2: build it for aarch64-unknown-none-softfloat, or let \
         `cargo seaworthy linux` do it."
    );
    std::process::exit(1);
}
