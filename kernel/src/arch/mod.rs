//! The CPU, behind one face. `aarch64` is the kernel's; `host` stands in for it under test.
//!
//! | module | what it gives |
//! |---|---|
//! | `Registers`, `FpRegisters` | what a program has in its registers |
//! | `Machine` | memory, translation caches and stores, as `mm` wants them |
//! | `Firmware` | the registers and memory that firmware's error tables name, reached without a lock |
//! | `console` | the serial console |
//! | `cpu` | which CPU this is, how many there are, idling, interrupting another one |
//! | `fp` | the SIMD and floating-point registers of the running program |
//! | `frame` | copies between frames that users own and memory of the running process |
//! | `irq` | masking this CPU's interrupts |
//! | `provoke` | mistakes that the kernel must die of |
//! | `space` | the address space that this CPU runs in |
//! | `thread` | the running thread, sleeping, waking; kernel stacks, and the switch between them |
//! | `time` | nanoseconds since boot, and the alarms of this CPU |
//! | `user` | access to the memory of the running process: every one can fail |

mod registers;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod aarch64;
#[cfg(not(target_os = "none"))]
mod host;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub use self::aarch64::{
    Firmware, Machine, console, cpu, fp, frame, irq, kernel_address, power_off, provoke, reset,
    space, thread, time, user,
};
#[cfg(not(target_os = "none"))]
pub use self::host::{
    Firmware, Machine, console, cpu, fp, frame, irq, power_off, provoke, reset, space, thread,
    time, user,
};
pub use self::registers::{FpRegisters, PSTATE_USER, Registers};
