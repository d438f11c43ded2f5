//! A Linux-ABI arm64 kernel in which a memory error inside a system call ends in an error number.
//!
//! # The folders
//!
//! | module | what it is |
//! |---|---|
//! | `arch` | the only place that knows the CPU: entry, tables, traps, interrupts, time, access to user memory. `arch::host` stands in for it under test, with threads for CPUs |
//! | `device_tree` | what the machine is made of |
//! | `sync` | locks, and queues of threads that wait |
//! | `memory` | what `mm` needs from this machine, kernel memory, and where the bytes of a system call come from and go to |
//! | `fs` | files: names, what is behind them, what is open |
//! | `task` | processes, threads, signals, the scheduler |
//! | `interfaces` | `/proc`, `/sys` and debugfs |
//! | `syscall` | the table of system calls, and each call's arguments |
//! | `random` | random bytes |
//! | `trap` | what exceptions mean, whatever the CPU |
//! | `ras` | memory errors |
//! | `init`, `log` | the first process; the kernel's log |
//! | `error` | Linux's error numbers |
//!
//! Policy about user memory is in the crate `mm`; this crate has none of its own.

#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod arch;
pub mod device_tree;
pub mod error;
pub mod fs;
pub mod identity;
pub mod init;
pub mod interfaces;
pub mod log;
pub mod memory;
pub mod random;
pub mod ras;
pub mod sync;
pub mod syscall;
pub mod task;
pub mod trap;
