//! The monitor's doorbell, as `control::doorbell` describes it.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use control::layout::DOORBELL;
use control::{Command, Counter, LINE, Policy, Request, Response, Status, doorbell};

use super::stub;
use super::trial::{Mode, Trial};

static PRESENT: AtomicBool = AtomicBool::new(false);

/// Looks for the monitor. Without it the doorbell is a hole, and a load of it aborts.
pub(crate) fn init() {
    let outcome = Trial::new(stub::LDR_X, Mode::El1h)
        .with(0, DOORBELL + doorbell::IDENTITY)
        .with(
            3,
            super::arena::View::Kernel.address(super::arena::BUFFER, 0),
        )
        .run();
    let present = outcome.is_done() && outcome.x(1) == doorbell::SIGNATURE;
    PRESENT.store(present, Ordering::Relaxed);
}

/// Whether there is a monitor.
pub(crate) fn is_present() -> bool {
    PRESENT.load(Ordering::Relaxed)
}

/// Stores 64 bits to a register.
pub(crate) fn write(register: u64, value: u64) {
    // SAFETY: the doorbell, by the one form of store that it takes. Commands concern the arena
    // only, which Rust has no reference to.
    unsafe { asm!("str {}, [{}]", in(reg) value, in(reg) DOORBELL + register, options(nostack)) }
}

/// Stores 32 bits to a register.
pub(crate) fn write_32(register: u64, value: u32) {
    // SAFETY: as above.
    unsafe { asm!("str {:w}, [{}]", in(reg) value, in(reg) DOORBELL + register, options(nostack)) }
}

/// Stores 16 bits, which no register takes.
pub(crate) fn write_16(register: u64, value: u16) {
    // SAFETY: as above.
    unsafe { asm!("strh {:w}, [{}]", in(reg) value, in(reg) DOORBELL + register, options(nostack)) }
}

/// Loads 64 bits from a register.
pub(crate) fn read(register: u64) -> u64 {
    let value: u64;
    // SAFETY: the doorbell, by the one form of load that it takes.
    unsafe {
        asm!("ldr {}, [{}]", out(reg) value, in(reg) DOORBELL + register, options(nostack));
    }
    value
}

/// Loads 32 bits from a register.
pub(crate) fn read_32(register: u64) -> u32 {
    let value: u32;
    // SAFETY: as above.
    unsafe {
        asm!("ldr {:w}, [{}]", out(reg) value, in(reg) DOORBELL + register, options(nostack));
    }
    value
}

/// The status of the last command, `None` if it is none that we know.
pub(crate) fn status() -> Option<Status> {
    Status::from_raw(read(doorbell::STATUS) as u32)
}

/// Sends a request, and returns its raw status and its value.
pub(crate) fn send(request: Request) -> (u32, u64) {
    write(doorbell::ADDRESS, request.address);
    write(doorbell::LENGTH, request.length);
    write(doorbell::POLICY, u64::from(request.policy));
    write(doorbell::COMMAND, u64::from(request.command));
    (read(doorbell::STATUS) as u32, read(doorbell::VALUE))
}

/// Runs a command that has to succeed or fail as known.
pub(crate) fn command(command: Command, address: u64, length: u64, policy: Policy) -> Response {
    let (status, value) = send(Request {
        command: command.raw(),
        policy: policy.bits(),
        address,
        length,
    });
    match Status::from_raw(status) {
        Some(status) => Response { status, value },
        None => panic!("{command} of {address:#x} gave status {status}, which is none"),
    }
}

/// Poisons the line at a physical address.
///
/// # Panics
///
/// If the monitor refuses.
pub(crate) fn poison(address: u64, policy: Policy) {
    write(doorbell::POLICY, u64::from(policy.bits()));
    write(doorbell::POISON, address);
    assert_eq!(status(), Some(Status::Ok), "poison {address:#x} {policy:?}");
}

/// Clears the line at a physical address.
///
/// # Panics
///
/// If the monitor refuses.
pub(crate) fn clear(address: u64) {
    write(doorbell::CLEAR, address);
    assert_eq!(status(), Some(Status::Ok), "clear {address:#x}");
}

/// Clears every line.
///
/// # Panics
///
/// If the monitor refuses.
pub(crate) fn clear_all() {
    let response = command(Command::ClearAll, 0, 0, Policy::empty());
    assert_eq!(response.status, Status::Ok, "clear all");
}

/// Whether a line is poisoned.
pub(crate) fn is_poisoned(address: u64) -> bool {
    let bits = command(Command::Query, address & !(LINE - 1), LINE, Policy::empty()).value;
    bits as u32 & Policy::POISONED.bits() != 0
}

/// The first poisoned line at or above an address.
pub(crate) fn next(address: u64) -> Option<u64> {
    let line = command(Command::Next, address, LINE, Policy::empty()).value;
    (line != u64::MAX).then_some(line)
}

/// A counter, summed over all CPUs.
pub(crate) fn count(counter: Counter) -> u64 {
    command(Command::Count, counter as u64, LINE, Policy::empty()).value
}
