//! What programs that meet memory errors on purpose have in common.
//!
//! They use Linux's own interfaces only, so they run on a real server as well as on a machine under
//! the monitor; the one exception, the monitor's [`doorbell`], is a choice.
//!
//! | module | what it does |
//! |---|---|
//! | [`page`] | a page of memory whose physical address is known, and a spare to take its place |
//! | [`einj`] | makes memory fail, or be reported, through ACPI EINJ in debugfs |
//! | [`doorbell`] | the same through the monitor's registers, reached by `/dev/mem` |
//! | [`signal`] | what a SIGBUS says |
//! | [`kernel_log`] | what the kernel says, and how much memory it has given up |
#![expect(
    unsafe_code,
    reason = "memory that is mapped, fails and is replaced under the compiler's eyes; device registers"
)]

pub mod doorbell;
pub mod einj;
pub mod kernel_log;
pub mod page;
pub mod signal;
