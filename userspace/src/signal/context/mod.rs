//! The interrupted registers in the frame that Linux built for a signal.
//!
//! The layouts are those of the kernel's user-space ABI, which no C library changes. They are
//! written down here because the C libraries disagree on the names of the fields.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::Frame;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::Frame;
