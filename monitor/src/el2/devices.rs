//! The registers that guests see: doorbell and EINJ. Behind them is the crate `firmware`.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use apei::Width;
use control::layout::{DOORBELL, EINJ, FIRMWARE_LENGTH};
use firmware::{Doorbell, Einj, Reporter, tables};
use syndrome::{DataAbort, InstructionSyndrome};

use super::cpu::Cpu;
use super::registers::mrs;
use super::vectors::Frame;
use super::{hit, poison};

/// Writes records.
pub(super) static REPORTER: Reporter = Reporter::new();

static DOORBELLS: Doorbell = Doorbell::new();
static INJECTION: Einj = Einj::new();

/// Where the memory behind the firmware window is.
static WINDOW: AtomicU64 = AtomicU64::new(0);

/// Writes the tables, before the guest runs.
pub(super) fn make(window: u64) {
    // SAFETY: the monitor's memory, of this size, which nobody else uses before the guest runs.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(window as *mut u8, FIRMWARE_LENGTH as usize) };
    tables::write(bytes);
    WINDOW.store(window, Ordering::Release);
}

/// The memory behind the firmware window.
pub(super) fn window() -> &'static [AtomicU32] {
    let window = WINDOW.load(Ordering::Acquire);
    // SAFETY: the monitor's memory, of this size, zeroed; from `make` on nothing but these atomics
    // and the guest access it.
    unsafe { core::slice::from_raw_parts(window as *const AtomicU32, FIRMWARE_LENGTH as usize / 4) }
}

/// What a load of `value` leaves in the register.
fn extend(value: u64, instruction: InstructionSyndrome) -> u64 {
    if !instruction.sign_extend {
        return value;
    }
    let unused = 64 - 8 * u32::from(instruction.size);
    let extended = ((value << unused) as i64 >> unused) as u64;
    if instruction.is_64bit_register {
        extended
    } else {
        extended & 0xffff_ffff
    }
}

/// An access of the guest to a page of registers, at the guest-physical `address`.
pub(super) fn access(cpu: &mut Cpu, frame: &mut Frame, address: u64, abort: DataAbort) {
    let Some(instruction) = abort.instruction() else {
        // The syndrome does not say which register holds the data.
        return hit::nothing_there(cpu, frame, mrs!("far_el2"), Some(abort));
    };
    let width = match instruction.size {
        1 => Width::Bits8,
        2 => Width::Bits16,
        4 => Width::Bits32,
        _ => Width::Bits64,
    };
    let run = |request| poison::execute(cpu.index, &request);
    let register = instruction.register;
    if abort.is_write() == Some(true) {
        let value = frame.get(register);
        if address < EINJ {
            DOORBELLS.store(cpu.index, address - DOORBELL, width, value, run);
        } else {
            INJECTION.store(window(), address - EINJ, width, value, run);
        }
    } else {
        let value = if address < EINJ {
            DOORBELLS.load(cpu.index, address - DOORBELL, width)
        } else {
            INJECTION.load(address - EINJ, width)
        };
        frame.set(register, extend(value, instruction));
    }
    cpu.abandon_step(frame);
    frame.skip_instruction();
}
