//! The Seaworthy monitor: see `ARCHITECTURE.md`, "The monitor".
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "The monitor runs at EL2: build it for aarch64-unknown-none-softfloat, or let \
         `cargo seaworthy linux` do it."
    );
    std::process::exit(1);
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
