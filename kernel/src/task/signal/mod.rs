//! Signals: sending, blocking, handling.

mod action;
mod info;
mod number;
mod pending;

pub use self::action::{Action, Actions, Disposition};
pub use self::info::{Detail, INFO_SIZE, Info, code};
pub use self::number::{DefaultAction, Signal, SignalSet};
pub use self::pending::Pending;
