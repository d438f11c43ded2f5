//! arm64: `struct sigcontext` of the kernel's `asm/sigcontext.h`, and the records that follow it.

use std::ffi::c_void;

use extable::{Registers, registers};

/// Bytes for records of what is not always there; the kernel's `__reserved`.
const RECORDS: usize = 4096;

/// Every record starts with a magic number and its size in bytes; both are 0 at the end.
const HEADER: usize = 8;
const ESR_MAGIC: u32 = 0x4553_5201;

#[repr(C)]
struct Sigcontext {
    fault_address: u64,
    general: [u64; 31],
    stack_pointer: u64,
    program_counter: u64,
    pstate: u64,
    records: Records,
}

#[repr(C, align(16))]
struct Records([u8; RECORDS]);

/// The registers of one signal frame.
pub(crate) struct Frame<'a>(&'a mut Sigcontext);

impl Frame<'_> {
    /// The registers in the third argument of a handler that was installed with `SA_SIGINFO`.
    ///
    /// # Safety
    ///
    /// `context` must be that argument; nothing else may access the frame while this lives.
    pub(crate) unsafe fn new(context: *mut c_void) -> Self {
        // SAFETY: the caller passes what the kernel passed: a `ucontext_t`.
        let registers = unsafe { &raw mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
        // SAFETY: both C libraries put the kernel's `sigcontext` there; the caller says that
        // nobody else accesses it.
        Self(unsafe { &mut *registers.cast() })
    }

    /// Where the thread was interrupted.
    pub(crate) fn program_counter(&self) -> usize {
        self.0.program_counter as usize
    }

    /// Whether the last abort of this thread was a write, if the kernel says so. For a SIGBUS
    /// that is no abort it is the value of an earlier one.
    pub(crate) fn write(&self) -> Option<bool> {
        // Arm ARM DDI 0487, ESR_ELx, ISS encoding for a Data Abort: WnR.
        const WRITE: u64 = 1 << 6;
        syndrome(&self.0.records.0).map(|syndrome| syndrome & WRITE != 0)
    }
}

/// The value in the `esr_context` record, if there is one.
fn syndrome(records: &[u8]) -> Option<u64> {
    let mut rest = records;
    loop {
        let (header, _) = rest.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h] = *header;
        let magic = u32::from_le_bytes([a, b, c, d]);
        let size = u32::from_le_bytes([e, f, g, h]) as usize;
        if size < HEADER {
            return None;
        }
        let record = rest.get(..size)?;
        if magic == ESR_MAGIC {
            let value = record[HEADER..].first_chunk::<8>()?;
            return Some(u64::from_le_bytes(*value));
        }
        rest = &rest[size..];
    }
}

impl Registers for Frame<'_> {
    const LIMIT: u8 = registers::aarch64::LIMIT;
    const REPORT: u8 = registers::aarch64::REPORT;

    fn general(&self, number: u8) -> usize {
        // 31 is the zero register in a load or store of a value, and is never a base.
        self.0
            .general
            .get(usize::from(number))
            .map_or(0, |&value| value as usize)
    }

    fn set_general(&mut self, number: u8, value: usize) {
        if let Some(register) = self.0.general.get_mut(usize::from(number)) {
            *register = value as u64;
        }
    }

    fn set_program_counter(&mut self, value: usize) {
        self.0.program_counter = value as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(magic: u32, payload: &[u8]) -> Vec<u8> {
        let size = (HEADER + payload.len()) as u32;
        [&magic.to_le_bytes(), &size.to_le_bytes(), payload].concat()
    }

    #[test]
    fn the_syndrome_is_found_behind_other_records() {
        let vectors = record(0x4650_8001, &[7; 520]);
        let esr = record(ESR_MAGIC, &0x9200_0047_u64.to_le_bytes());
        let mut records = [vectors, esr].concat();
        records.resize(RECORDS, 0);
        assert_eq!(syndrome(&records), Some(0x9200_0047));
    }

    #[test]
    fn records_that_make_no_sense_have_no_syndrome() {
        assert_eq!(syndrome(&[]), None);
        assert_eq!(syndrome(&[0; RECORDS]), None);
        assert_eq!(syndrome(&[1, 2, 3]), None);
        let mut short = record(ESR_MAGIC, &[1, 2]);
        assert_eq!(syndrome(&short), None);
        short[4] = 200;
        assert_eq!(syndrome(&short), None);
    }

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(core::mem::offset_of!(Sigcontext, program_counter), 264);
        assert_eq!(core::mem::offset_of!(Sigcontext, records), 288);
    }
}
