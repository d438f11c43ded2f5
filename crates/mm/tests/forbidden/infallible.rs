//! What was read cannot be used before it is known whether it was.

use mm::{Machine, UserFrame};

fn sum<M: Machine>(machine: &M, frame: &UserFrame) -> u64 {
    machine.checksum(frame) + 1
}

fn same<M: Machine>(machine: &M, one: &UserFrame, other: &UserFrame) -> bool {
    machine.compare(one, other)
}

fn main() {}
