//! The functions that compilers call to move, fill and compare memory, for aarch64 programs without
//! a C library: `memcpy`, `memmove`, `memset` and `memcmp`.
//!
//! Rust's own, of `compiler_builtins`, take care not to access anything unaligned where the target
//! says so, as `aarch64-unknown-none-softfloat` does, and then move single bytes. These take
//! unaligned accesses to be allowed. So they must not run before the MMU is on, nor on memory
//! that is mapped as a device's (Arm ARM B2.10: unaligned accesses to Device memory fault), nor
//! while `SCTLR_ELx.A` is set. They use general registers only.
//!
//! Memory errors kill whoever calls these. What may meet poison is copied by `seaworthy-copy`.
//!
//! A program for `target_os = "none"` gets them by linking this crate:
//!
//! ```text
//! use string as _;
//! ```
//!
//! Elsewhere they are functions like others, so that they can be tested.

#![no_std]
#![cfg_attr(
    all(target_arch = "aarch64", not(miri)),
    expect(unsafe_code, reason = "they are assembly")
)]

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod compare;
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod copy;
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod fill;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use self::{
    compare::memcmp,
    copy::{memcpy, memmove},
    fill::memset,
};
