//! What programs that meet memory errors on purpose have in common.
//!
//! They use Linux's own interfaces only, so they run on a real server as well as on a machine under
//! the monitor; the one exception, the monitor's [`doorbell`], is a choice.
//!
//! | module | what it does |
//! |---|---|
//! | [`page`] | a page of memory whose physical address is known, and a spare to take its place |
//! | [`einj`] | makes memory fail, or be reported, through ACPI EINJ in debugfs |
//! | [`host`] | the same, asked of whoever is at the other end of the console |
//! | [`doorbell`] | the same through the monitor's registers, reached by `/dev/mem` |
//! | [`signal`] | what a SIGBUS says |
//! | [`inject`] | chooses between the two, or a person who does it |
//! | [`kernel_log`] | what the kernel says, and how much memory it has given up |
//! | [`output`] | how results are printed |
//! | [`shared`] | memory that a process shares with its children |
//! | [`system_call`] | system calls as they are |
//! | [`errno`] | a table of bad arguments, and what a kernel answers |
//! | [`fuzz`] | random system calls |
//! | [`case`](mod@case) | the cases of a campaign, what must come of each, and the judgement |
#![expect(
    unsafe_code,
    reason = "memory that is mapped, fails and is replaced under the compiler's eyes; device registers"
)]

pub mod case;
pub mod doorbell;
pub mod einj;
pub mod errno;
pub mod fuzz;
pub mod host;
pub mod inject;
pub mod kernel_log;
pub mod output;
pub mod page;
pub mod shared;
pub mod signal;
pub mod system_call;
