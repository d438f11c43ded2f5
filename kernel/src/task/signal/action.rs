//! What a process has asked for when a signal comes.

use linux_raw_sys::general as linux;

use crate::task::signal::{DefaultAction, Signal, SignalSet};

/// `SA_RESTORER`: the caller gives the code that a handler returns to. Arm, `asm/signal.h`.
const RESTORER: u64 = 0x0400_0000;

/// What to do with one signal: the kernel's `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `SIG_DFL`, `SIG_IGN` or the address of a handler.
    pub handler: u64,
    /// `SA_...`.
    pub flags: u64,
    /// What a handler returns to, with `SA_RESTORER`.
    pub restorer: u64,
    /// What is blocked while the handler runs.
    pub mask: SignalSet,
}

impl Action {
    /// The size of `struct sigaction` in bytes.
    pub const SIZE: usize = 32;
    const DEFAULT: u64 = 0;
    const IGNORE: u64 = 1;

    /// Reads the kernel's layout: handler, flags, restorer, mask.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |place: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[place * 8..place * 8 + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            handler: word(0),
            flags: word(1),
            restorer: word(2),
            mask: SignalSet(word(3)).without(SignalSet::ABSOLUTE),
        }
    }

    /// The kernel's layout.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = [self.handler, self.flags, self.restorer, self.mask.0];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Whether one of the `SA_...` flags is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }

    /// Where a handler returns to, unless it is the kernel's own trampoline.
    pub fn return_address(&self) -> Option<u64> {
        (self.flags & RESTORER != 0).then_some(self.restorer)
    }

    /// What becomes of `signal`.
    pub fn disposition(&self, signal: Signal) -> Disposition {
        match (self.handler, signal.default_action()) {
            (Self::DEFAULT, DefaultAction::Ignore | DefaultAction::Continue)
            | (Self::IGNORE, _) => Disposition::Ignore,
            (Self::DEFAULT, DefaultAction::Terminate) => Disposition::Terminate { core: false },
            (Self::DEFAULT, DefaultAction::Core) => Disposition::Terminate { core: true },
            (Self::DEFAULT, DefaultAction::Stop) => Disposition::Stop,
            _ => Disposition::Handle,
        }
    }
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing.
    Ignore,
    /// The process ends.
    Terminate {
        /// It may dump core.
        core: bool,
    },
    /// The process stops.
    Stop,
    /// A handler runs.
    Handle,
}

/// What a process does with each signal.
#[derive(Clone, Debug)]
pub struct Actions([Action; Signal::MAX as usize]);

impl Actions {
    /// The default for all.
    pub const fn new() -> Self {
        Self(
            [Action {
                handler: Action::DEFAULT,
                flags: 0,
                restorer: 0,
                mask: SignalSet::EMPTY,
            }; Signal::MAX as usize],
        )
    }

    /// For one signal.
    pub fn get(&self, signal: Signal) -> Action {
        self.0[usize::from(signal.number()) - 1]
    }

    /// Changes it.
    pub fn set(&mut self, signal: Signal, action: Action) {
        self.0[usize::from(signal.number()) - 1] = action;
    }

    /// Whether `signal` is dropped as soon as it is sent.
    pub fn ignores(&self, signal: Signal) -> bool {
        !signal.is_absolute() && self.get(signal).disposition(signal) == Disposition::Ignore
    }

    /// As `execve` leaves them: handlers are gone with the program, what was ignored still is.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            let handler = if action.handler == Action::IGNORE {
                Action::IGNORE
            } else {
                Action::DEFAULT
            };
            *action = Action {
                handler,
                ..Action::default()
            };
        }
    }

    /// Whether children need not be waited for: `SIGCHLD` is ignored on purpose, or
    /// `SA_NOCLDWAIT` is set.
    pub fn reaps_children(&self) -> bool {
        let action = self.get(Signal::SIGCHLD);
        action.handler == Action::IGNORE || action.has(linux::SA_NOCLDWAIT)
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Actions, Disposition};
    use crate::task::signal::{Signal, SignalSet};

    #[test]
    fn the_layout_goes_both_ways() {
        let action = Action {
            handler: 0x1000,
            flags: 4,
            restorer: 0x2000,
            mask: SignalSet::of(Signal::SIGHUP),
        };
        assert_eq!(Action::from_bytes(&action.to_bytes()), action);
        let all = Action {
            mask: SignalSet(u64::MAX),
            ..action
        };
        let mask = Action::from_bytes(&all.to_bytes()).mask;
        assert!(!mask.has(Signal::SIGKILL) && !mask.has(Signal::SIGSTOP));
    }

    #[test]
    fn exec_keeps_what_was_ignored() {
        let mut actions = Actions::new();
        let with = |handler| Action {
            handler,
            ..Action::default()
        };
        actions.set(Signal::SIGINT, with(1));
        actions.set(Signal::SIGTERM, with(0x4000));
        assert_eq!(
            actions.get(Signal::SIGTERM).disposition(Signal::SIGTERM),
            Disposition::Handle
        );
        actions.reset_handlers();
        assert!(actions.ignores(Signal::SIGINT));
        assert_eq!(
            actions.get(Signal::SIGTERM).disposition(Signal::SIGTERM),
            Disposition::Terminate { core: false }
        );
    }

    #[test]
    fn children_are_kept_unless_the_parent_says_so() {
        let mut actions = Actions::new();
        assert!(actions.ignores(Signal::SIGCHLD) && !actions.reaps_children());
        actions.set(
            Signal::SIGCHLD,
            Action {
                handler: 1,
                ..Action::default()
            },
        );
        assert!(actions.reaps_children());
    }
}
