//! The machine: what a kernel needs of it before it can be tested.
//!
//! All of RAM is mapped as it is, so Rust sees ordinary memory. Accesses under test go to the
//! [`arena`], through mappings of their own, from [`stub`]s that a [`trial`] runs and catches. Rust
//! holds no reference into the arena, so that nothing an access does there can surprise it.

pub(crate) mod arena;
pub(crate) mod boot;
pub(crate) mod cpu;
pub(crate) mod doorbell;
pub(crate) mod exception;
pub(crate) mod features;
pub(crate) mod firmware;
pub(crate) mod gic;
pub(crate) mod mmu;
pub(crate) mod psci;
pub(crate) mod registers;
pub(crate) mod stub;
pub(crate) mod timer;
pub(crate) mod trial;
pub(crate) mod uart;
pub(crate) mod vector;
