//! Threads: what runs, what waits on its stack, and the switch between them.

use alloc::boxed::Box;
use core::arch::naked_asm;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::mem::offset_of;

use super::registers::{mrs, msr};
use super::stack::{self, Stack};
use super::vectors::{FRAME, enter_user};
use super::{cpu, fp};
use crate::arch::{FpRegisters, Registers};
use crate::error::{Errno, Result};
use crate::task::{self, scheduler};

pub use crate::task::scheduler::{Waker, has_signal, park, wake};
pub use crate::task::timer::park_until;

/// The waker of the running thread.
pub fn current() -> Waker {
    Waker::of_current()
}

/// What [`set_current_pointer`] was given on this CPU, or null.
pub fn current_pointer() -> *const task::Thread {
    core::ptr::with_exposed_provenance(mrs!("sp_el0") as usize)
}

/// Says which thread runs on this CPU. It must stay alive as long as it does.
pub fn set_current_pointer(thread: *const task::Thread) {
    cpu::this().current.set(thread);
    msr!("sp_el0", thread.expose_provenance() as u64);
}

/// TPIDR_EL0 of the running thread.
pub fn tls() -> u64 {
    mrs!("tpidr_el0")
}

/// Sets TPIDR_EL0 of the running thread.
pub fn set_tls(value: u64) {
    msr!("tpidr_el0", value);
}

/// What a thread that does not run goes on with: the registers that a function must preserve.
#[repr(C)]
#[derive(Debug, Default)]
struct Context {
    /// X19 to X28.
    saved: [u64; 10],
    frame: u64,
    link: u64,
    stack: u64,
}

/// What only threads with a user mode have.
#[derive(Debug)]
struct User {
    fp: Box<UnsafeCell<FpRegisters>>,
    tls: Cell<u64>,
}

/// What a CPU keeps of a thread that does not run.
pub struct State {
    context: UnsafeCell<Context>,
    user: Option<User>,
    /// None for the thread that a CPU boots with, whose stack is for ever.
    stack: Option<Stack>,
}

// SAFETY: the cells are used by `switch` alone, and a thread is switched from and to by one CPU at
// a time: the scheduler's lock is held across the switch.
unsafe impl Send for State {}
// SAFETY: as above.
unsafe impl Sync for State {}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("State")
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Of a thread that has a stack already: one that boots, and becomes an idle one.
    pub fn boot() -> Self {
        Self {
            context: UnsafeCell::default(),
            user: None,
            stack: None,
        }
    }

    /// Of a thread of the kernel's that starts with `entry(argument)`, which must not return.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn kernel(entry: fn(usize), argument: usize) -> Result<Self> {
        let stack = stack::new()?;
        let mut context = Context {
            link: (start_kernel as *const ()).addr() as u64,
            stack: stack.end(),
            ..Context::default()
        };
        context.saved[0] = (entry as *const ()).addr() as u64;
        context.saved[1] = argument as u64;
        Ok(Self {
            context: UnsafeCell::new(context),
            user: None,
            stack: Some(stack),
        })
    }

    /// Of a thread that starts in user mode, with these registers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn user(registers: &Registers, tls: u64, fp: &FpRegisters) -> Result<Self> {
        let stack = stack::new()?;
        let frame = stack.end() - FRAME as u64;
        let place = core::ptr::with_exposed_provenance_mut::<(Registers, [u64; 2])>(frame as usize);
        // SAFETY: the end of a stack that nobody else has.
        unsafe { place.write((*registers, [0; 2])) };
        let fp = try_box(UnsafeCell::new(fp.clone()))?;
        Ok(Self {
            context: UnsafeCell::new(Context {
                link: (start_user as *const ()).addr() as u64,
                stack: frame,
                frame: frame + size_of::<Registers>() as u64,
                ..Context::default()
            }),
            user: Some(User {
                fp,
                tls: Cell::new(tls),
            }),
            stack: Some(stack),
        })
    }
}

/// A box, or `ENOMEM`.
fn try_box<T>(value: T) -> Result<Box<T>> {
    let mut vector = alloc::vec::Vec::new();
    vector.try_reserve_exact(1).map_err(|_| Errno::ENOMEM)?;
    vector.push(value);
    let slice: Box<[T]> = vector.into_boxed_slice();
    let pointer = Box::into_raw(slice).cast::<T>();
    // SAFETY: a slice of one element has the layout of the element.
    Ok(unsafe { Box::from_raw(pointer) })
}

/// Gives the CPU of one thread to another. Returns when it was given back.
pub fn switch(from: &State, to: &State) {
    if let Some(user) = &from.user {
        // SAFETY: nobody else looks at the registers of a thread that runs.
        fp::read(unsafe { &mut *user.fp.get() });
        user.tls.set(tls());
    }
    if let Some(user) = &to.user {
        // SAFETY: nobody changes the registers of a thread that does not run.
        fp::write(unsafe { &*user.fp.get() });
        set_tls(user.tls.get());
    }
    // SAFETY: the scheduler's lock keeps both to this CPU, and `to` is on a stack of its own.
    unsafe { switch_stacks(from.context.get(), to.context.get()) };
}

const _: () = assert!(offset_of!(Context, stack) == 96);

#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(from: *mut Context, to: *const Context) {
    naked_asm!(
        "mov x9, sp",
        "stp x19, x20, [x0]",
        "stp x21, x22, [x0, #16]",
        "stp x23, x24, [x0, #32]",
        "stp x25, x26, [x0, #48]",
        "stp x27, x28, [x0, #64]",
        "stp x29, x30, [x0, #80]",
        "str x9, [x0, #96]",
        "ldp x19, x20, [x1]",
        "ldp x21, x22, [x1, #16]",
        "ldp x23, x24, [x1, #32]",
        "ldp x25, x26, [x1, #48]",
        "ldp x27, x28, [x1, #64]",
        "ldp x29, x30, [x1, #80]",
        "ldr x9, [x1, #96]",
        "mov sp, x9",
        "ret",
    )
}

/// The first code of a thread of the kernel's: x19 is what it runs, x20 its argument.
#[unsafe(naked)]
unsafe extern "C" fn start_kernel() {
    naked_asm!(
        "bl {started}",
        "msr daifclr, #6",
        "mov x0, x20",
        "blr x19",
        "brk #0",
        started = sym started,
    )
}

/// The first code of a thread that starts in user mode, whose frame is at the stack pointer.
#[unsafe(naked)]
unsafe extern "C" fn start_user() {
    naked_asm!(
        "bl {started}",
        "mov x0, sp",
        "bl {leave}",
        "b {enter}",
        started = sym started,
        leave = sym super::trap::leave,
        enter = sym enter_user,
    )
}

extern "C" fn started() {
    scheduler::started();
}
