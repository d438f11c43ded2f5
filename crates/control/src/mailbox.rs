//! The memory that the host shares with the monitor, at the start of the monitor's reserved part of
//! RAM: `end of RAM - RESERVED_LENGTH`.
//!
//! The host runs QEMU with its RAM in a shared file and maps that file. One CPU of the machine is
//! the monitor's own, never shown to the guest; it looks at the mailbox many times a second.
//!
//! * A request: the host writes `request`, then adds 1 to the lowest byte of `requests` (release),
//!   which goes round after 255: a host that writes the file instead of memory can write one byte
//!   at once, but perhaps no more. The monitor writes `response`, then sets `responses` to the same
//!   number (release). One at a time; hosts that share a machine agree on turns with a lock on
//!   the RAM file.
//! * [`LOG`]: a ring of text. The monitor writes bytes, then moves `log_written` (release), which
//!   counts all bytes ever written. A reader that fell behind by more than the ring has lost some.
//! * [`COUNTERS`]: one row of 64-bit counters for each CPU; each CPU adds to its own.
//!
//! All integers are little-endian, and naturally aligned.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What [`Header::signature`] holds once the mailbox can be used.
pub const SIGNATURE: u64 = u64::from_le_bytes(*b"SEAWMAIL");

/// The version of this layout.
pub const VERSION: u32 = 1;

/// Where the counters are: [`crate::MAX_CPUS`] rows of [`crate::counter::SLOTS`] integers of 64
/// bits.
pub const COUNTERS: u64 = 0x1000;

/// Where the ring of text is.
pub const LOG: u64 = 0x4000;

/// Bytes of the ring of text.
pub const LOG_LENGTH: u64 = 0xc000;

/// Bytes of the whole mailbox.
pub const LENGTH: u64 = 0x1_0000;

/// [`Header::state`]: the monitor has not entered the guest yet.
pub const STARTING: u32 = 0;
/// [`Header::state`]: the guest runs.
pub const RUNNING: u32 = 1;
/// [`Header::state`]: the monitor refused to start the guest, or failed; the log says why.
pub const FAILED: u32 = 2;

/// The first bytes of the mailbox. Offsets are part of the contract; see the tests.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`SIGNATURE`], written last.
    pub signature: u64,
    /// [`VERSION`].
    pub version: u32,
    /// [`STARTING`], [`RUNNING`] or [`FAILED`].
    pub state: u32,
    /// CPUs that the guest has.
    pub guest_cpus: u32,
    /// 1 if a CPU of the monitor's own answers requests.
    pub answers: u32,
    /// First byte of the guest's RAM.
    pub ram_start: u64,
    /// End of the guest's RAM, where the monitor's part begins.
    pub ram_end: u64,
    /// Generic timer ticks a second (CNTFRQ_EL0).
    pub frequency: u64,
    /// CNTPCT_EL0 when the monitor started.
    pub started: u64,
    /// CNTPCT_EL0 when it entered the guest.
    pub entered: u64,
    /// Number of the last request.
    pub requests: u32,
    /// Number of the last response.
    pub responses: u32,
    /// The request's command.
    pub command: u32,
    /// The request's policy.
    pub policy: u32,
    /// The request's address.
    pub address: u64,
    /// The request's length.
    pub length: u64,
    /// The response's status.
    pub status: u32,
    /// Not used.
    pub unused: u32,
    /// The response's value.
    pub value: u64,
    /// Bytes of text ever written to the ring.
    pub log_written: u64,
    /// Times that the monitor has looked for a request.
    pub heartbeat: u64,
}

/// Where each field of [`Header`] is that one side writes while the other reads.
pub mod offset {
    use core::mem::offset_of;

    use super::Header;

    /// Of [`Header::state`].
    pub const STATE: u64 = offset_of!(Header, state) as u64;
    /// Of [`Header::requests`].
    pub const REQUESTS: u64 = offset_of!(Header, requests) as u64;
    /// Of [`Header::responses`].
    pub const RESPONSES: u64 = offset_of!(Header, responses) as u64;
    /// Of [`Header::command`]; policy, address and length follow.
    pub const REQUEST: u64 = offset_of!(Header, command) as u64;
    /// Of [`Header::status`]; the value follows after 8 bytes.
    pub const RESPONSE: u64 = offset_of!(Header, status) as u64;
    /// Of [`Header::log_written`].
    pub const LOG_WRITTEN: u64 = offset_of!(Header, log_written) as u64;
    /// Of [`Header::heartbeat`].
    pub const HEARTBEAT: u64 = offset_of!(Header, heartbeat) as u64;
}

const _: () = {
    assert!(size_of::<Header>() == 128);
    assert!(offset::REQUESTS == 64);
    assert!(COUNTERS + (crate::MAX_CPUS * crate::counter::SLOTS * 8) as u64 <= LOG);
    assert!(LOG + LOG_LENGTH == LENGTH);
};
