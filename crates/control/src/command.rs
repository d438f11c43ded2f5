//! Commands, their arguments and what comes back.

use core::fmt;

/// Gives an open enum its name table: `from_raw`, `raw` and, for people, `name`.
macro_rules! numbered {
    ($(#[$attribute:meta])* $name:ident: $raw:ty {
        $($(#[$item_attribute:meta])* $item:ident = $value:literal, $text:literal;)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$item_attribute])* $item,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$item,)*];

            /// The one with this number, if there is one.
            #[must_use]
            pub const fn from_raw(raw: $raw) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$item),)*
                    _ => None,
                }
            }

            /// Its number.
            #[must_use]
            pub const fn raw(self) -> $raw {
                match self {
                    $(Self::$item => $value,)*
                }
            }

            /// What it is, in words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$item => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

numbered! {
    /// What the monitor can be asked to do.
    Command: u32 {
        /// Nothing: answers [`Status::Ok`], so the caller knows that somebody listens.
        Ping = 1, "ping";
        /// Poisons every line of `[address, address + length)` with `policy`. All or nothing.
        Poison = 2, "poison";
        /// Makes every line of the range good.
        Clear = 3, "clear";
        /// Answers the policy of the line at `address`: [`crate::Policy::POISONED`] and what it was
        /// given, or 0.
        Query = 4, "query";
        /// Answers the address of the first poisoned line at or above `address`, or `u64::MAX`.
        Next = 5, "next";
        /// Makes every line good.
        ClearAll = 6, "clear all";
        /// Reports an error at `address` that nobody has met: `length` holds the [`Notice`].
        Notify = 7, "notify";
        /// Answers the sum over all CPUs of the [`crate::Counter`] whose number is in `address`.
        Count = 8, "count";
    }
}

numbered! {
    /// How a command ended.
    Status: u32 {
        /// It was done.
        Ok = 0, "done";
        /// There is no command of this number.
        UnknownCommand = 1, "unknown command";
        /// Address or length is not a multiple of 64.
        Unaligned = 2, "address or length is not a multiple of the 64-byte line";
        /// Part of the range is not RAM.
        OutsideRam = 3, "not in the guest's RAM";
        /// Part of the range belongs to the monitor.
        MonitorMemory = 4, "belongs to the monitor";
        /// The length is 0, or the range ends beyond the address space.
        BadLength = 5, "length is zero or too large";
        /// The policy has unknown bits, or bits that contradict each other.
        BadPolicy = 6, "unknown or contradictory policy bits";
        /// No room for more poisoned pages.
        NoRoom = 7, "no room for more poisoned pages";
        /// The guest has not acknowledged the last record of this source.
        Unacknowledged = 8, "the guest has not acknowledged the last record";
        /// A register was accessed with a width or at an offset that it does not have.
        BadRegister = 9, "no such register, or not with this width";
        /// This CPU lacks what the command needs.
        Unsupported = 10, "not supported by this CPU";
        /// An argument that is none of the above is out of range.
        BadArgument = 11, "argument out of range";
    }
}

numbered! {
    /// What [`Command::Notify`] reports, asynchronously.
    Notice: u64 {
        /// A corrected error, by the notification interrupt.
        Corrected = 1, "corrected error";
        /// Corrected errors in this page exceed the threshold, by the notification interrupt.
        ThresholdExceeded = 2, "corrected errors over the threshold";
        /// A patrol scrub found an uncorrectable error that nobody has consumed, by the
        /// notification interrupt.
        PatrolScrub = 3, "uncorrected error found by patrol scrub";
        /// A virtual SError with AET "corrected" and a record.
        SErrorCorrected = 4, "SError, corrected";
        /// A virtual SError with AET "restartable" (UEO) and a record.
        SErrorRestartable = 5, "SError, restartable";
        /// A virtual SError with AET "recoverable" (UER) and a record.
        SErrorRecoverable = 6, "SError, recoverable";
        /// A virtual SError with AET "uncontainable" (UC) and a record.
        SErrorUncontainable = 7, "SError, uncontainable";
    }
}

/// A command with its arguments, as it came: nothing in it has been checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The number of a [`Command`].
    pub command: u32,
    /// The bits of a [`crate::Policy`].
    pub policy: u32,
    /// A guest-physical address, in bytes, unless the command says otherwise.
    pub address: u64,
    /// A length in bytes, unless the command says otherwise.
    pub length: u64,
}

/// What a request led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it ended. If not [`Status::Ok`], nothing has changed.
    pub status: Status,
    /// The answer of a command that has one, else 0.
    pub value: u64,
}

impl Response {
    /// Done, with an answer.
    #[must_use]
    pub const fn value(value: u64) -> Self {
        Self {
            status: Status::Ok,
            value,
        }
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        Self { status, value: 0 }
    }
}

impl From<Result<u64, Status>> for Response {
    fn from(result: Result<u64, Status>) -> Self {
        match result {
            Ok(value) => Self::value(value),
            Err(status) => status.into(),
        }
    }
}
