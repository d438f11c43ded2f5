//! Memory of users is not the kernel's, and the kernel's is not the users'.

use mm::{KernelFrame, Machine, UserFrame};

fn walk<M: Machine>(machine: &M, user: &UserFrame) -> u64 {
    machine.load_entry(user, 0)
}

fn read<M: Machine>(machine: &M, table: &KernelFrame) {
    let _ = machine.read(table, 0, &mut [0; 8]);
}

fn main() {}
