//! What a poisoned line does when it is met.

use bitflags::bitflags;

bitflags! {
    /// The policy of a poisoned line, in the 32 bits that commands carry.
    ///
    /// The default, 0, is what most hardware does: a load raises a synchronous external abort with
    /// a valid address and SET "recoverable", and firmware reports a recoverable memory error with
    /// its physical address; the line stays bad until all of it is overwritten.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Policy: u32 {
        /// The line is good again once it has been reported.
        const ONE_SHOT = 1 << 0;
        /// The abort has FnV set: FAR holds no address.
        const NO_FAR = 1 << 1;
        /// Firmware reports nothing, so nobody can claim the abort.
        const NO_RECORD = 1 << 2;
        /// Overwriting the whole line does not make it good.
        const PERMANENT = 1 << 3;
        /// The record has no physical address.
        const NO_PHYSICAL_ADDRESS = 1 << 4;
        /// The record is an Arm processor error section (a cache error) instead of a memory error
        /// section.
        const PROCESSOR = 1 << 5;
        /// The record's severity is fatal instead of recoverable.
        const FATAL = 1 << 6;
        /// SET, or AET for an SError, is "restartable" (UEO).
        const RESTARTABLE = 1 << 8;
        /// SET, or AET for an SError, is "uncontainable" (UC). Not together with `RESTARTABLE`.
        const UNCONTAINABLE = 1 << 9;
        /// The load gets what memory holds, and a virtual SError is made pending. Needs `FEAT_RAS`.
        const SERROR = 1 << 10;
        /// Read back by a query, never given: the line is poisoned.
        const POISONED = 1 << 31;
    }
}

impl Policy {
    /// The policy of a command's argument, or `None` if it has an unknown bit, or bits that
    /// contradict each other.
    #[must_use]
    pub fn from_request(bits: u32) -> Option<Self> {
        let policy = Self::from_bits(bits)?;
        let both = Self::RESTARTABLE | Self::UNCONTAINABLE;
        (!policy.contains(both) && !policy.contains(Self::POISONED)).then_some(policy)
    }
}
