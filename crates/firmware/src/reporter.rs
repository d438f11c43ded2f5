//! Reporting errors: GHESv2 (ACPI 18.3.2.8) from several CPUs, without a lock.
//!
//! A source has one block and one acknowledge register. Firmware may write the block only after
//! the guest has acknowledged the last one. One word for each source, outside the guest's reach,
//! says whose turn it is:
//!
//! ```text
//!             claim                 publish
//!   free ───────────────▶ writing ───────────▶ reported
//!                            ▲                     │
//!                            └─────────────────────┘
//!                            claim, if acknowledged
//! ```
//!
//! Claiming is one compare-and-swap, so a CPU that fails learns that at once and never waits for
//! another. Of what the guest writes, only bit 0 of the acknowledge register is looked at. A guest
//! that clears it delays its own next report until it sets it; a guest that sets it too early loses
//! the record that it has not read. Nothing else it writes has an effect.

use core::fmt;

use control::Status;

use crate::sync::{AtomicU64, Ordering};
use crate::window::{self, Window};
use crate::{Record, tables};

/// An error source of the HEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Errors that an instruction met: they come with a synchronous external abort.
    Sea,
    /// Errors that nobody has met: they come with the interrupt
    /// [`NOTIFY_INTID`](control::layout::NOTIFY_INTID).
    Gsiv,
    /// Errors that come with an SError.
    Sei,
}

impl Source {
    /// All of them, in the order of their identifiers.
    pub const ALL: &[Self] = &[Self::Sea, Self::Gsiv, Self::Sei];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its identifier in the HEST.
    pub const fn id(self) -> u16 {
        self as u16
    }
}

/// Why a record was not written. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Another CPU is writing a record, or wrote one that the guest has not acknowledged.
    OtherCpu,
    /// The guest has not acknowledged a record of this very CPU, so it is not going to while the
    /// CPU waits here.
    SameCpu,
}

/// Writes records to the sources' blocks.
#[derive(Debug)]
pub struct Reporter {
    turns: [AtomicU64; Source::COUNT],
}

/// Whose turn a source is: the word of the state machine above.
///
/// The number of the record changes with every turn, so that a CPU which has found a record
/// acknowledged cannot take the next one, of the same CPU, for it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Turn(u64);

impl Turn {
    const FREE: Self = Self(0);
    const WRITING: u64 = 1 << 0;
    const CPU_SHIFT: u32 = 1;
    const CPU_BITS: u64 = 0xffff;
    const NUMBER_SHIFT: u32 = 17;

    /// The turn after this one: `cpu` writes the next record.
    fn next(self, cpu: usize) -> Self {
        let cpu = cpu as u64 & Self::CPU_BITS;
        Self((self.number() + 1) << Self::NUMBER_SHIFT | cpu << Self::CPU_SHIFT | Self::WRITING)
    }

    fn written(self) -> Self {
        Self(self.0 & !Self::WRITING)
    }

    fn is_writing(self) -> bool {
        self.0 & Self::WRITING != 0
    }

    /// Records written before this turn, its own included.
    fn number(self) -> u64 {
        self.0 >> Self::NUMBER_SHIFT
    }

    fn busy(self, cpu: usize) -> Busy {
        if self.0 >> Self::CPU_SHIFT & Self::CPU_BITS == cpu as u64 {
            Busy::SameCpu
        } else {
            Busy::OtherCpu
        }
    }
}

impl Reporter {
    /// A reporter of which no source has reported anything.
    #[cfg(not(under_loom))]
    pub const fn new() -> Self {
        Self {
            turns: [const { AtomicU64::new(Turn::FREE.0) }; Source::COUNT],
        }
    }

    /// As above; loom's atomics cannot be made at compile time.
    #[cfg(under_loom)]
    pub fn new() -> Self {
        Self {
            turns: core::array::from_fn(|_| AtomicU64::new(Turn::FREE.0)),
        }
    }

    /// Writes a record to a source's block, for the guest to claim. Call it before the guest is
    /// notified; `cpu` is the index of the CPU that calls, below 65536.
    ///
    /// When it returns, the guest sees the whole record, on any CPU.
    ///
    /// # Errors
    ///
    /// [`Busy`]: the source's last record is not acknowledged, or not even written.
    pub fn report(
        &self,
        window: &(impl Window + ?Sized),
        source: Source,
        cpu: usize,
        record: &Record,
    ) -> Result<(), Busy> {
        let turn = self.claim(window, source, cpu)?;
        // No two blocks are alike, not even those of two sources.
        let number = turn.number() << 2 | u64::from(source.id());
        // Not acknowledged, from before the guest can see the block until it has claimed it.
        window.store(window::read_ack(source), 0);
        write_block(window, window::block(source), number, record);
        self.turn(source).store(turn.written().0, Ordering::Release);
        Ok(())
    }

    fn claim(
        &self,
        window: &(impl Window + ?Sized),
        source: Source,
        cpu: usize,
    ) -> Result<Turn, Busy> {
        const ACKNOWLEDGED: u32 = tables::READ_ACK as u32;
        let last = Turn(self.turn(source).load(Ordering::Acquire));
        let is_free = || {
            last == Turn::FREE
                || !last.is_writing() && window.load(window::read_ack(source)) & ACKNOWLEDGED != 0
        };
        if !is_free() {
            return Err(last.busy(cpu));
        }
        let next = last.next(cpu);
        self.turn(source)
            .compare_exchange(last.0, next.0, Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| next)
            // Whoever was faster is another CPU.
            .map_err(|_| Busy::OtherCpu)
    }

    fn turn(&self, source: Source) -> &AtomicU64 {
        &self.turns[source as usize]
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a record to the block that BERT names: an error of an earlier boot. For the time before
/// the guest runs; nobody acknowledges it.
pub fn write_boot_error(window: &(impl Window + ?Sized), record: &Record) {
    write_block(window, window::BOOT_ERROR, 0, record);
}

/// The first word says that the block holds a record, so it comes last.
fn write_block(window: &(impl Window + ?Sized), offset: usize, number: u64, record: &Record) {
    let block = record.encode(number);
    let (status, rest) = block.as_bytes().split_at(4);
    window.store(offset, 0);
    window::store_bytes(window, offset + 4, rest);
    window::store_bytes(window, offset, status);
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherCpu => "another CPU's record is not acknowledged yet",
            Self::SameCpu => "the last record of this CPU is not acknowledged",
        })
    }
}

impl core::error::Error for Busy {}

/// How a command ends that had to report an error and could not.
impl From<Busy> for Status {
    fn from(_: Busy) -> Self {
        Self::Unacknowledged
    }
}
