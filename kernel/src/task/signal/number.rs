//! Signals and sets of them.

use core::fmt;

use linux_raw_sys::general as linux;

/// The number of a signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident)*) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self(linux::$name as u8);)*
        }

        impl fmt::Debug for Signal {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => formatter.write_str(stringify!($name)),)*
                    Self(number) => write!(formatter, "signal {number}"),
                }
            }
        }
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2
    SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG
    SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
}

/// What happens to a process that neither handles nor ignores a signal. POSIX, `<signal.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// It ends.
    Terminate,
    /// It ends, with a core dump if it may have one.
    Core,
    /// It stops until `SIGCONT`.
    Stop,
    /// Nothing more: `SIGCONT` has continued it when it was sent.
    Continue,
    /// Nothing.
    Ignore,
}

impl Signal {
    /// The first real-time signal: several of one wait in a queue.
    pub const FIRST_REAL_TIME: u8 = 32;
    /// The greatest.
    pub const MAX: u8 = 64;

    /// The signal with this number, if there is one.
    pub fn new(number: u64) -> Option<Self> {
        (1..=u64::from(Self::MAX))
            .contains(&number)
            .then_some(Self(number as u8))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether several of it can be pending.
    pub fn is_real_time(self) -> bool {
        self.0 >= Self::FIRST_REAL_TIME
    }

    /// Whether no process can handle, ignore or block it.
    pub fn is_absolute(self) -> bool {
        matches!(self, Self::SIGKILL | Self::SIGSTOP)
    }

    /// Whether an instruction of the thread caused it, if the kernel sent it. Such are delivered
    /// before others, so that a handler sees the state at that instruction.
    pub fn is_synchronous(self) -> bool {
        matches!(
            self,
            Self::SIGSEGV
                | Self::SIGBUS
                | Self::SIGILL
                | Self::SIGTRAP
                | Self::SIGFPE
                | Self::SIGSYS
        )
    }

    /// What happens by default.
    pub fn default_action(self) -> DefaultAction {
        match self {
            Self::SIGCHLD | Self::SIGURG | Self::SIGWINCH => DefaultAction::Ignore,
            Self::SIGCONT => DefaultAction::Continue,
            Self::SIGSTOP | Self::SIGTSTP | Self::SIGTTIN | Self::SIGTTOU => DefaultAction::Stop,
            Self::SIGQUIT
            | Self::SIGILL
            | Self::SIGTRAP
            | Self::SIGABRT
            | Self::SIGBUS
            | Self::SIGFPE
            | Self::SIGSEGV
            | Self::SIGXCPU
            | Self::SIGXFSZ
            | Self::SIGSYS => DefaultAction::Core,
            _ => DefaultAction::Terminate,
        }
    }
}

/// A set of signals, in the kernel's format: signal `n` is bit `n - 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// `SIGKILL` and `SIGSTOP`.
    pub const ABSOLUTE: Self = Self::of(Signal::SIGKILL).with(Signal::SIGSTOP);
    /// Those that stop a process by default.
    pub const STOPS: Self = Self::of(Signal::SIGSTOP)
        .with(Signal::SIGTSTP)
        .with(Signal::SIGTTIN)
        .with(Signal::SIGTTOU);

    /// One signal.
    pub const fn of(signal: Signal) -> Self {
        Self(1 << (signal.0 - 1))
    }

    /// And this one.
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | Self::of(signal).0)
    }

    /// Those in either.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in both.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has this one.
    pub const fn has(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one that is delivered first: one that an instruction caused, otherwise the least.
    pub fn first(self) -> Option<Signal> {
        let lowest = |set: u64| (set != 0).then(|| Signal(set.trailing_zeros() as u8 + 1));
        let synchronous = (1..Signal::FIRST_REAL_TIME)
            .map(Signal)
            .filter(|signal| signal.is_synchronous())
            .fold(0, |set, signal| set | Self::of(signal).0);
        lowest(self.0 & synchronous).or_else(|| lowest(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Signal, SignalSet};

    #[test]
    fn numbers_outside_are_no_signals() {
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(u64::MAX), None);
        assert_eq!(Signal::new(64).map(Signal::number), Some(64));
    }

    #[test]
    fn signals_of_instructions_go_first() {
        let set = SignalSet::of(Signal::SIGHUP).with(Signal::SIGSEGV);
        assert_eq!(set.first(), Some(Signal::SIGSEGV));
        assert_eq!(
            SignalSet::of(Signal::SIGHUP).with(Signal::SIGTERM).first(),
            Some(Signal::SIGHUP)
        );
        assert_eq!(SignalSet::EMPTY.first(), None);
    }
}
