//! Exceptions that come to EL2, each sent to who handles it.

use syndrome::{Esr, Syndrome};

use super::cpu::Cpu;
use super::hit::{self, Consumption};
use super::registers::{mrs, msr};
use super::step::Watched;
use super::vectors::Frame;
use super::{abort, cpu, debug, mailbox, psci, summon, tlb, uart};

/// A synchronous exception from the guest.
pub(super) extern "C" fn synchronous(frame: &mut Frame) {
    let esr = Esr::new(mrs!("esr_el2"));
    let Some(cpu) = Cpu::current() else {
        uart::last_words(format_args!(
            "an exception before the guest was entered: {esr}"
        ));
    };
    match esr.decode() {
        Syndrome::DataAbort(_) | Syndrome::InstructionAbort(_) if summon::come(cpu) => {}
        Syndrome::DataAbort(data) => abort::data(cpu, frame, data),
        Syndrome::InstructionAbort(fetch) => abort::fetch(cpu, frame, fetch),
        Syndrome::Watchpoint(watchpoint) => watched(cpu, frame, watchpoint),
        Syndrome::SoftwareStep(_) | Syndrome::Breakpoint(_) => {
            if cpu.step.is_active() {
                cpu.end_step(frame);
            } else {
                unexpected(frame, esr);
            }
        }
        Syndrome::Smc(_) => {
            cpu.abandon_step(frame);
            psci::call(frame);
        }
        Syndrome::SystemRegister(trap) => {
            cpu.abandon_step(frame);
            let target = trap.target();
            if tlb::is_maintenance(target) {
                tlb::maintain(frame, trap.register(), target);
                return frame.skip_instruction();
            }
            let access = debug::RegisterAccess {
                op1: target.op1,
                crn: target.crn,
                crm: target.crm,
                op2: target.op2,
            };
            if trap.is_read() {
                frame.set(trap.register(), access.read());
            } else {
                access.write(frame.get(trap.register()));
            }
            frame.skip_instruction();
        }
        _ => unexpected(frame, esr),
    }
}

/// A watchpoint: poison, one of the guest's, or neither.
fn watched(cpu: &mut Cpu, frame: &mut Frame, watchpoint: syndrome::Watchpoint) {
    let far = mrs!("far_el2");
    match cpu.watched(far) {
        Watched::Poison(address) => {
            hit::load(cpu, frame, Consumption::load(address, far));
        }
        Watched::Ambiguous(address) => {
            hit::ambiguous(cpu, frame, address & !(control::PAGE - 1), far);
        }
        Watched::Again => {}
        Watched::Guests => {
            hit::forward_watchpoint(cpu, frame, watchpoint, far);
        }
    }
}

/// A physical SError: not the guest's to begin with, but it is the one who has to know.
pub(super) extern "C" fn serror(_: &mut Frame) {
    msr!("hcr_el2", mrs!("hcr_el2") | cpu::HCR_VSE);
}

fn unexpected(frame: &Frame, esr: Esr) -> ! {
    uart::last_words(format_args!(
        "an exception that nothing should cause: {esr}, at {:#x}, FAR {:#x}",
        frame.pc,
        mrs!("far_el2")
    ));
}

/// An exception from EL2 itself: a mistake in the monitor.
pub(super) extern "C" fn from_el2(vector: u64) -> ! {
    mailbox::failed();
    uart::last_words(format_args!(
        "internal error: vector {vector}, {}, at {:#x}, FAR {:#x}",
        Esr::new(mrs!("esr_el2")),
        mrs!("elr_el2"),
        mrs!("far_el2")
    ));
}
