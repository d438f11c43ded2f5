//! A read that failed cannot be ignored.
#![deny(unused_must_use)]

use mm::{Machine, UserFrame};

fn all<M: Machine>(machine: &M, to: &UserFrame, from: &UserFrame) {
    machine.copy_page(to, from);
    machine.read(from, 0, &mut [0; 8]);
    machine.compare(to, from);
    machine.is_zero(from);
    machine.checksum(from);
}

fn main() {}
