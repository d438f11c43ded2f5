//! Signals: sending, blocking, handling.
//!
//! | module | what it is |
//! |---|---|
//! | `number`, `info`, `action`, `pending` | which, why, what to do, which wait: pure |
//! | `frame` | what a handler finds on its stack: pure |
//! | `send` | from `kill` and from faults to a thread that will look |
//! | `deliver` | a thread looks, on its way back to user mode |
//! | `stop` | processes that stop and continue |

mod action;
mod deliver;
mod frame;
mod info;
mod number;
mod pending;
mod send;
mod stop;

pub use self::action::{Action, Actions, Disposition};
pub use self::deliver::{Restart, before_user, failure, refresh, return_from_handler};
pub use self::frame::{Fault, TRAMPOLINE, stack_bytes, stack_flags};
pub use self::info::{Detail, INFO_SIZE, Info, code};
pub use self::number::{DefaultAction, Signal, SignalSet};
pub use self::pending::Pending;
pub use self::send::{force, send, send_to_group, send_to_thread};
