//! The CPU, behind one face. `aarch64` is the kernel's; `host` stands in for it under test.
//!
//! | module | what it gives |
//! |---|---|
//! | `Machine` | memory, translation caches and stores, as `mm` wants them |
//! | `frame` | copies between frames that users own and memory of the running process |
//! | `irq` | masking this CPU's interrupts |
//! | `thread` | the running thread, sleeping, waking |
//! | `time` | nanoseconds since boot |
//! | `user` | access to the memory of the running process: every one can fail |

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod aarch64;
#[cfg(not(target_os = "none"))]
mod host;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub use self::aarch64::{Machine, frame, irq, thread, time, user};
#[cfg(not(target_os = "none"))]
pub use self::host::{Machine, frame, irq, thread, time, user};
