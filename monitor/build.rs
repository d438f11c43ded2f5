//! Gives the monitor's own linker script to the linker, where there is a monitor to link.

use std::env;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=monitor.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{folder}/monitor.ld");
        // Position independent: it moves itself to the end of RAM, wherever that is. The values
        // in place are right for the address it is linked at, so it can run before it moves.
        println!("cargo:rustc-link-arg-bins=-pie");
        // Tables of addresses among constants are moved too: the image is writable.
        println!("cargo:rustc-link-arg-bins=-znotext");
        println!("cargo:rustc-link-arg-bins=--no-dynamic-linker");
        println!("cargo:rustc-link-arg-bins=--apply-dynamic-relocs");
    }
}
