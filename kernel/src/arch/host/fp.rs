//! SIMD and floating-point registers, of which each thread of the host has a pretended set.

use std::cell::RefCell;

use crate::arch::FpRegisters;

thread_local! {
    static REGISTERS: RefCell<FpRegisters> = RefCell::new(FpRegisters::default());
}

/// Those of the running user thread.
pub fn read(into: &mut FpRegisters) {
    REGISTERS.with_borrow(|registers| into.clone_from(registers));
}

/// Gives the running user thread these.
pub fn write(from: &FpRegisters) {
    REGISTERS.with_borrow_mut(|registers| registers.clone_from(from));
}
