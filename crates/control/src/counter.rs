//! What the monitor counts, one set for each CPU.

macro_rules! counters {
    ($($(#[$attribute:meta])* $name:ident = $text:literal;)*) => {
        /// A counter. Its number is its place in [`Counter::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[$attribute])* $name,)*
        }

        impl Counter {
            /// All counters, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name, as the host command prints it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

counters! {
    /// Lines made bad.
    Poisoned = "poisoned";
    /// Lines made good by a command.
    Cleared = "cleared";
    /// Lines made good because the guest overwrote all of them.
    Overwritten = "overwritten";
    /// Aborts handed to the guest.
    Hits = "hits";
    /// Hits that were instruction fetches.
    FetchHits = "fetch-hits";
    /// Hits that were steps of a stage 1 table walk.
    WalkHits = "walk-hits";
    /// Virtual SErrors made pending.
    SErrors = "serrors";
    /// Accesses to a page with poison that missed it, and were stepped over.
    Steps = "steps";
    /// Load-exclusive sequences that ran through to their end.
    Exclusives = "exclusives";
    /// Records written.
    Records = "records";
    /// Hits handed over without a record, because the guest had not acknowledged the last.
    Unreported = "unreported";
    /// Times that a CPU was made to repeat its access while another's record was unacknowledged.
    Waits = "waits";
    /// Commands refused.
    Refused = "refused";
    /// Loads of a poisoned line that were found to have gone through. Must be 0.
    Leaks = "leaks";
    /// Aborts for accesses that were found to touch no poisoned line. Must be 0.
    FalseAborts = "false-aborts";
    /// Aborts for accesses of which nobody can say whether they touch one: a vector gather over
    /// more bad lines than there are watchpoints to tell them apart.
    Ambiguous = "ambiguous";
    /// Watchpoints of the guest that gave way, for one instruction, to the monitor's.
    Displaced = "displaced-watchpoints";
}

/// Room for counters of one CPU, so that the layout of the mailbox does not follow their number.
pub const SLOTS: usize = 32;

const _: () = assert!(Counter::ALL.len() <= SLOTS);
