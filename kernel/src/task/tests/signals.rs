//! Signals, from a sender to a handler and back.

use std::sync::Arc;

use super::{Actor, memory, registers};
use crate::arch::Registers;
use crate::error::Errno;
use crate::memory::UserAddress;
use crate::syscall;
use crate::task::Work;
use crate::task::signal::{
    Action, Fault, Info, Signal, SignalSet, before_user, force, send, send_to_thread,
};

const HANDLER: u64 = 0x40_1000;
const SA_SIGINFO: u64 = 4;
const SA_RESTART: u64 = 0x1000_0000;
const STACK: usize = 32768;

fn handle(actor: &Actor, signal: Signal, flags: u64) {
    let action = Action {
        handler: HANDLER,
        flags,
        ..Action::default()
    };
    let mut signals = actor.thread.process.signals.lock();
    signals.actions.set(signal, action);
}

/// A program that is about to go on in user mode.
fn program() -> (Registers, UserAddress) {
    let stack = memory(STACK);
    let mut registers = registers();
    registers.sp = stack.0 + STACK as u64;
    for (index, register) in registers.x.iter_mut().enumerate() {
        *register = 1000 + index as u64;
    }
    (registers, stack)
}

#[test]
fn a_handler_runs_and_the_program_goes_on() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGUSR1, SA_SIGINFO);
    actor
        .thread
        .process
        .space()
        .unwrap()
        .layout
        .lock()
        .trampoline = 0xffff_1000;
    let (mut registers, _stack) = program();
    let before = registers;
    send(&actor.thread.process, Info::kernel(Signal::SIGUSR1)).unwrap();
    assert!(actor.thread.work.has(Work::SIGNAL));
    before_user(&mut registers);
    assert_eq!(
        (registers.pc, registers.x[0], registers.x[30]),
        (HANDLER, 10, 0xffff_1000)
    );
    assert_eq!(registers.x[1], registers.sp);
    assert_eq!(UserAddress(registers.x[1]).read_u32(), Ok(10));
    assert_eq!(UserAddress(registers.x[29]).read_u64(), Ok(1029));
    assert!(actor.thread.signals.lock().mask.has(Signal::SIGUSR1));
    assert!(!actor.thread.work.any());

    // The handler returns to the trampoline.
    registers.x[8] = 139;
    syscall::handle(&mut registers);
    assert_eq!(registers, before);
    assert_eq!(actor.thread.signals.lock().mask, SignalSet::EMPTY);
}

#[test]
fn a_second_signal_is_handled_first() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGUSR1, 0);
    handle(&actor, Signal::SIGUSR2, 0);
    let (mut registers, _stack) = program();
    let before = registers;
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        send(&actor.thread.process, Info::kernel(signal)).unwrap();
    }
    before_user(&mut registers);
    assert_eq!(registers.x[0], 12);
    for expected in [10, 1000] {
        registers.x[8] = 139;
        syscall::handle(&mut registers);
        assert_eq!(registers.x[0], expected);
    }
    assert_eq!(registers.pc, before.pc);
}

#[test]
fn a_fault_carries_its_syndrome() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGSEGV, SA_SIGINFO);
    let (mut registers, _stack) = program();
    let fault = Fault {
        address: 0xdead_0000,
        syndrome: 0x9200_0044,
    };
    force(Info::fault(Signal::SIGSEGV, 1, fault.address), Some(fault));
    before_user(&mut registers);
    let info = UserAddress(registers.x[1]);
    assert_eq!(info.offset(16).read_u64(), Ok(0xdead_0000));
    let context = UserAddress(registers.x[2]);
    assert_eq!(context.offset(176).read_u64(), Ok(0xdead_0000));
    let record = context.offset(464 + 528);
    assert_eq!(record.read_u32(), Ok(0x4553_5201));
    assert_eq!(record.offset(8).read_u64(), Ok(0x9200_0044));
}

/// A call that a signal interrupted, as it stands on the way back to user mode.
fn interrupted(actor: &Actor, kind: Errno) -> (Registers, Registers) {
    let (mut registers, _stack) = program();
    let before = registers;
    actor.thread.signals.lock().restart = Some(crate::task::signal::Restart {
        argument: registers.x[0],
        errno: kind,
    });
    actor.thread.work.set(Work::SIGNAL);
    registers.x[0] = -512i64 as u64;
    (registers, before)
}

#[test]
fn calls_start_again_as_the_handler_wants() {
    for (flags, kind, again) in [
        (SA_RESTART, Errno::RESTART, true),
        (0, Errno::RESTART, false),
        (SA_RESTART, Errno::RESTART_UNLESS_HANDLED, false),
    ] {
        let actor = Actor::new();
        handle(&actor, Signal::SIGUSR1, flags);
        let (mut registers, before) = interrupted(&actor, kind);
        send(&actor.thread.process, Info::kernel(Signal::SIGUSR1)).unwrap();
        before_user(&mut registers);
        registers.x[8] = 139;
        syscall::handle(&mut registers);
        if again {
            assert_eq!((registers.pc, registers.x[0]), (before.pc - 4, before.x[0]));
        } else {
            assert_eq!((registers.pc, registers.x[0] as i64), (before.pc, -4));
        }
    }
}

#[test]
fn calls_start_again_when_no_handler_runs() {
    let actor = Actor::new();
    for (kind, number) in [
        (Errno::RESTART, 1008),
        (Errno::RESTART_UNLESS_HANDLED, 1008),
        (Errno::RESTART_WAIT, 128),
    ] {
        let (mut registers, before) = interrupted(&actor, kind);
        before_user(&mut registers);
        assert_eq!((registers.pc, registers.x[0]), (before.pc - 4, before.x[0]));
        assert_eq!(registers.x[8], number);
    }
}

#[test]
fn blocked_signals_wait() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGUSR1, 0);
    actor.thread.set_mask(SignalSet::of(Signal::SIGUSR1), false);
    let (mut registers, _stack) = program();
    let before = registers;
    send_to_thread(&actor.thread, Info::kernel(Signal::SIGUSR1)).unwrap();
    assert!(!actor.thread.work.any());
    before_user(&mut registers);
    assert_eq!(registers, before);
    actor.thread.set_mask(SignalSet::EMPTY, false);
    assert!(actor.thread.work.has(Work::SIGNAL));
    before_user(&mut registers);
    assert_eq!(registers.pc, HANDLER);
}

#[test]
fn a_mask_for_one_call_comes_back() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGUSR1, 0);
    let own = SignalSet::of(Signal::SIGUSR1);
    actor.thread.set_mask(own, false);
    let set = memory(64);
    let sender = {
        let process = Arc::clone(&actor.thread.process);
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            send(&process, Info::kernel(Signal::SIGUSR1)).unwrap();
        })
    };
    assert_eq!(actor.call(133, &[set.0, 8]), -514);
    sender.join().unwrap();
    let (mut registers, _stack) = program();
    before_user(&mut registers);
    assert_eq!(registers.pc, HANDLER);
    registers.x[8] = 139;
    syscall::handle(&mut registers);
    assert_eq!(registers.x[0] as i64, -4);
    assert_eq!(actor.thread.signals.lock().mask, own);
}

#[test]
fn a_stack_that_is_not_there_ends_the_program() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGUSR1, 0);
    handle(&actor, Signal::SIGSEGV, 0);
    let (mut registers, _stack) = program();
    registers.sp = 64;
    send(&actor.thread.process, Info::kernel(Signal::SIGUSR1)).unwrap();
    let thread = Arc::clone(&actor.thread);
    // The end of a thread does not return: it stays where it is.
    std::thread::spawn(move || {
        let actor = Actor::play(thread);
        before_user(&mut registers);
        drop(actor);
    });
    let status = loop {
        if let Some(status) = actor.thread.process.status() {
            break status;
        }
        std::thread::yield_now();
    };
    assert_eq!(status.word(), 11);
}

#[test]
fn a_frame_that_is_none_costs_a_signal() {
    let actor = Actor::new();
    handle(&actor, Signal::SIGSEGV, 0);
    let (mut registers, stack) = program();
    for sp in [stack.0 + 8, 64, stack.0] {
        // A record of zeros ends the list at once, which is a frame: this one is not.
        stack.offset(128 + 464).write(&[0xff; 16]).unwrap();
        registers.sp = sp;
        registers.x[8] = 139;
        syscall::handle(&mut registers);
        let pending = actor.thread.signals.lock().pending.set();
        assert!(pending.has(Signal::SIGSEGV));
        actor
            .thread
            .signals
            .lock()
            .pending
            .take(SignalSet(u64::MAX));
    }
}

#[test]
fn a_process_stops_and_continues() {
    let actor = Actor::new();
    let process = Arc::clone(&actor.thread.process);
    send(&process, Info::kernel(Signal::SIGSTOP)).unwrap();
    let thread = Arc::clone(&actor.thread);
    let stopped = std::thread::spawn(move || {
        let _actor = Actor::play(thread);
        let (mut registers, _stack) = program();
        before_user(&mut registers);
    });
    while !process.signals.lock().stopped {
        std::thread::yield_now();
    }
    assert_eq!(process.letter(), 'T');
    assert!(!stopped.is_finished());
    send(&process, Info::kernel(Signal::SIGCONT)).unwrap();
    stopped.join().unwrap();
    assert!(!process.signals.lock().stopped);
}
