//! How processes end.

use crate::task::signal::Signal;

/// How a process ended, in the format of `wait`: the exit code in bits 8 to 15, or the signal in
/// bits 0 to 6 and "core dumped" in bit 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    /// It called `exit`.
    pub const fn exit(code: u8) -> Self {
        Self((code as u32) << 8)
    }

    /// A signal ended it.
    pub fn killed(signal: Signal, dumped: bool) -> Self {
        Self(u32::from(signal.number()) | u32::from(dumped) << 7)
    }

    /// What `wait` stores.
    pub const fn word(self) -> u32 {
        self.0
    }
}
