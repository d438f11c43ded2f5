//! The stand-in for tests: threads of the host are CPUs and threads alike, and user memory is
//! the test's own.

pub mod console;
pub mod cpu;
mod firmware;
pub mod fp;
pub mod frame;
pub mod irq;
mod machine;
pub mod provoke;
pub mod space;
pub mod thread;
pub mod time;
pub mod user;

pub use self::firmware::Firmware;
pub use self::machine::Machine;

/// Switches the machine off: here, ends the test.
pub fn power_off() -> ! {
    panic!("the machine is off")
}

/// Starts the machine again: here, ends the test.
pub fn reset() -> ! {
    panic!("the machine starts again")
}
