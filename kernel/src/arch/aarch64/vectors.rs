//! The vectors: saving and restoring registers around the handlers in [`trap`].
//!
//! A frame is [`Registers`] and a frame record, which a backtrace follows through it. At the top
//! of a thread's stack is the frame of its user mode; its record is zero and ends the chain.
//!
//! The handlers for user mode return with interrupts masked and nothing left to do.

use core::arch::global_asm;
use core::mem::offset_of;

use super::cpu::PerCpu;
use super::{stack, trap};
use crate::arch::Registers;

/// Bytes of a frame.
pub(super) const FRAME: usize = 288;
const _: () = assert!(FRAME == size_of::<Registers>() + 16);
const _: () = assert!(offset_of!(Registers, sp) == 248 && offset_of!(Registers, pc) == 256);

unsafe extern "C" {
    /// The vector table.
    pub(super) fn vectors();
    /// Goes to user mode with the frame at the stack pointer.
    pub(super) fn enter_user();
}

global_asm!(
    r#"
    .macro save_general
        stp     x0, x1, [sp]
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        stp     x6, x7, [sp, #48]
        stp     x8, x9, [sp, #64]
        stp     x10, x11, [sp, #80]
        stp     x12, x13, [sp, #96]
        stp     x14, x15, [sp, #112]
        stp     x16, x17, [sp, #128]
        stp     x18, x19, [sp, #144]
        stp     x20, x21, [sp, #160]
        stp     x22, x23, [sp, #176]
        stp     x24, x25, [sp, #192]
        stp     x26, x27, [sp, #208]
        stp     x28, x29, [sp, #224]
    .endm

    .macro restore_general
        ldp     x0, x1, [sp]
        ldp     x2, x3, [sp, #16]
        ldp     x4, x5, [sp, #32]
        ldp     x6, x7, [sp, #48]
        ldp     x8, x9, [sp, #64]
        ldp     x10, x11, [sp, #80]
        ldp     x12, x13, [sp, #96]
        ldp     x14, x15, [sp, #112]
        ldp     x16, x17, [sp, #128]
        ldp     x18, x19, [sp, #144]
        ldp     x20, x21, [sp, #160]
        ldp     x22, x23, [sp, #176]
        ldp     x24, x25, [sp, #192]
        ldp     x26, x27, [sp, #208]
        ldp     x28, x29, [sp, #224]
    .endm

    // From user mode: the stack is empty, and SP_EL0 is the program's.
    .macro from_user handler
    .balign 128
        sub     sp, sp, #{frame}
        save_general
        adr     x20, \handler
        b       save_user
    .endm

    // From the kernel: the stack may have no room.
    .macro from_kernel handler
    .balign 128
        sub     sp, sp, #{frame}
        add     sp, sp, x0
        sub     x0, sp, x0
        tbz     x0, #{stack_bit}, 9f
        sub     x0, sp, x0
        sub     sp, sp, x0
        save_general
        adr     x20, \handler
        b       save_kernel
    9:  sub     x0, sp, x0
        sub     sp, sp, x0
        b       overflow
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global vectors
    vectors:
        from_kernel to_unexpected
        from_kernel to_unexpected
        from_kernel to_unexpected
        from_kernel to_unexpected
        from_kernel to_kernel_synchronous
        from_kernel to_kernel_interrupt
        from_kernel to_unexpected
        from_kernel to_kernel_error
        from_user   to_user_synchronous
        from_user   to_user_interrupt
        from_user   to_unexpected
        from_user   to_user_error
        from_user   to_unexpected
        from_user   to_unexpected
        from_user   to_unexpected
        from_user   to_unexpected

    to_unexpected:
        b       {unexpected}
    to_kernel_synchronous:
        b       {kernel_synchronous}
    to_kernel_interrupt:
        b       {kernel_interrupt}
    to_kernel_error:
        b       {kernel_error}
    to_user_synchronous:
        b       {user_synchronous}
    to_user_interrupt:
        b       {user_interrupt}
    to_user_error:
        b       {user_error}

    save_user:
        mrs     x21, sp_el0
        stp     x30, x21, [sp, #240]
        mrs     x22, elr_el1
        mrs     x23, spsr_el1
        stp     x22, x23, [sp, #256]
        mrs     x24, tpidr_el1
        ldr     x24, [x24]
        msr     sp_el0, x24
        add     x29, sp, #272
        mov     x0, sp
        blr     x20

    .global enter_user
    enter_user:
        ldp     x30, x21, [sp, #240]
        msr     sp_el0, x21
        ldp     x22, x23, [sp, #256]
        msr     elr_el1, x22
        msr     spsr_el1, x23
        restore_general
        add     sp, sp, #{frame}
        eret

    save_kernel:
        add     x21, sp, #{frame}
        stp     x30, x21, [sp, #240]
        mrs     x22, elr_el1
        mrs     x23, spsr_el1
        stp     x22, x23, [sp, #256]
        stp     x29, x22, [sp, #272]
        add     x29, sp, #272
        mov     x0, sp
        blr     x20
        ldr     x30, [sp, #240]
        ldp     x22, x23, [sp, #256]
        msr     elr_el1, x22
        msr     spsr_el1, x23
        restore_general
        add     sp, sp, #{frame}
        eret

        // Reported on a stack of its own. The thread pointers of the program are lost, but it will
        // not run again.
    overflow:
        msr     tpidrro_el0, x0
        mov     x0, sp
        msr     tpidr_el0, x0
        mrs     x0, tpidr_el1
        ldr     x0, [x0, #{emergency_stack}]
        sub     x0, x0, #{frame}
        mov     sp, x0
        mrs     x0, tpidrro_el0
        save_general
        mrs     x21, tpidr_el0
        add     x21, x21, #{frame}
        stp     x30, x21, [sp, #240]
        mrs     x22, elr_el1
        mrs     x23, spsr_el1
        stp     x22, x23, [sp, #256]
        stp     x29, x22, [sp, #272]
        add     x29, sp, #272
        mov     x0, sp
        bl      {overflow}
    .text
    "#,
    frame = const FRAME,
    stack_bit = const stack::LENGTH_SHIFT,
    emergency_stack = const offset_of!(PerCpu, emergency_stack),
    unexpected = sym trap::unexpected,
    kernel_synchronous = sym trap::kernel_synchronous,
    kernel_interrupt = sym trap::kernel_interrupt,
    kernel_error = sym trap::kernel_error,
    user_synchronous = sym trap::user_synchronous,
    user_interrupt = sym trap::user_interrupt,
    user_error = sym trap::user_error,
    overflow = sym trap::overflow,
);
