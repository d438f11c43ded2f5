//! The atomics that the crate is built on, or, with `--cfg under_loom`, loom's model of them.

#[cfg(not(under_loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(under_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
