//! AArch64, at EL1: Arm ARM DDI 0487.
//!
//! | module | what it is |
//! |---|---|
//! | `boot`, `start` | from the first instruction to the first process |
//! | `layout`, `tables` | where things are in the kernel's half of the address space |
//! | `vectors`, `trap`, `fixup`, `identification` | exceptions |
//! | `cpu`, `features`, `psci` | CPUs |
//! | `interrupt`, `irq`, `time` | interrupts |
//! | `thread`, `stack`, `fp` | what runs |
//! | `machine`, `space`, `frame`, `user` | memory of users |
//! | `provoke` | mistakes on purpose |
//! | `console`, `report` | what is seen outside |
//! | `disk` | disks |
//! | `firmware` | where firmware reports errors |
#![expect(
    unsafe_code,
    reason = "registers, tables, stacks, entry and exit: nothing of this is expressible in safe Rust"
)]

mod boot;
pub mod console;
pub mod cpu;
mod disk;
mod features;
mod firmware;
mod fixup;
pub mod fp;
pub mod frame;
mod identification;
mod interrupt;
pub mod irq;
mod layout;
mod machine;
pub mod provoke;
mod psci;
mod registers;
mod report;
pub mod space;
mod stack;
mod start;
mod tables;
pub mod thread;
pub mod time;
mod trap;
pub mod user;
mod vectors;

// What the compiler calls to move, fill and compare memory.
use string as _;

pub use self::firmware::Firmware;
pub use self::machine::Machine;
pub use self::psci::{power_off, reset};

/// The address at which the kernel sees a frame of its own.
pub fn kernel_address(frame: mm::Pfn) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(layout::direct(frame.0 * layout::PAGE) as usize)
}
