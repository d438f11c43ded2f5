//! A thread as it was when its process began to end.

use crate::arch::{FpRegisters, Registers, fp, thread};
use crate::task::{Pid, Thread};

/// What a core file says of a thread.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number.
    pub number: Pid,
    /// Its general registers.
    pub registers: Registers,
    /// Its SIMD and floating-point registers.
    pub fp: FpRegisters,
    /// Its thread pointer, TPIDR_EL0.
    pub tls: u64,
    /// The signals that were sent to it and wait, as bits.
    pub pending: u64,
    /// Those that it blocks.
    pub blocked: u64,
    /// How long it ran, in nanoseconds.
    pub runtime: u64,
}

impl Snapshot {
    /// One of the running thread, which goes to the kernel with these registers.
    pub fn of_running(running: &Thread, registers: &Registers) -> Self {
        let mut fp_registers = FpRegisters::default();
        fp::read(&mut fp_registers);
        let signals = running.signals.lock();
        Self {
            number: running.id(),
            registers: *registers,
            fp: fp_registers,
            tls: thread::tls(),
            pending: signals.pending.set().0,
            blocked: signals.mask.0,
            runtime: running.entity.runtime(),
        }
    }
}
