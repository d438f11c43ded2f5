//! A checked, sorted table and its search.

use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Abort, Access, Entry, Fixup, Kind};

/// A table that was checked when it was made: sorted, no instruction twice, every entry of a
/// known kind with data that decode.
pub struct Table<'a> {
    entries: Entries<'a>,
    /// Index of the entry that was found last. Memory that fails is often met again by the same
    /// instruction, of a loop that reads on; then there is nothing to search.
    last: AtomicUsize,
}

/// The entries, and how far they lie from where they were linked.
#[derive(Clone, Copy)]
struct Entries<'a> {
    slice: &'a [Entry],
    /// What to add to an address that an entry names, because the table was moved.
    bias: isize,
}

/// Why a table is refused. `index` counts entries from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The section does not hold a whole number of aligned entries.
    Size {
        /// Length of the section in bytes.
        bytes: usize,
    },
    /// This entry's instruction lies below that of the entry before it.
    Unsorted {
        /// Which entry.
        index: usize,
    },
    /// This entry covers the same instruction as the entry before it.
    Duplicate {
        /// Which entry.
        index: usize,
    },
    /// This entry's kind is none of those in [`Kind`].
    UnknownKind {
        /// Which entry.
        index: usize,
        /// The number found.
        kind: Kind,
    },
    /// This entry's data bits follow none of the layouts of [`Access`].
    BadAccess {
        /// Which entry.
        index: usize,
        /// The bits found.
        data: u16,
    },
    /// This entry names an address outside the code it should cover.
    OutsideText {
        /// Which entry.
        index: usize,
        /// The address named.
        address: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed exception table: ")?;
        match *self {
            Self::Size { bytes } => {
                write!(
                    f,
                    "{bytes} bytes is not a whole number of aligned 12-byte entries"
                )
            }
            Self::Unsorted { index } => {
                write!(f, "entry {index} is out of order; sort the table first")
            }
            Self::Duplicate { index } => {
                write!(
                    f,
                    "entry {index} covers the same instruction as the one before it"
                )
            }
            Self::UnknownKind { index, kind } => write!(f, "entry {index} has unknown {kind:?}"),
            Self::BadAccess { index, data } => {
                write!(
                    f,
                    "entry {index} has data {data:#06x}, which describe no access"
                )
            }
            Self::OutsideText { index, address } => {
                write!(
                    f,
                    "entry {index} names {address:#x}, which is not in the code it covers"
                )
            }
        }
    }
}

impl core::error::Error for Malformed {}

impl<'a> Table<'a> {
    /// Checks a table that lies where it was linked.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the first entry that breaks a rule.
    pub fn new(entries: &'a [Entry]) -> Result<Self, Malformed> {
        Self::moved(entries, 0)
    }

    /// Checks a copy of a table that lies elsewhere than it was linked.
    ///
    /// `bias` is the address of the original's first entry less that of the copy's, in bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the first entry that breaks a rule.
    pub fn moved(entries: &'a [Entry], bias: isize) -> Result<Self, Malformed> {
        let entries = Entries {
            slice: entries,
            bias,
        };
        for (index, entry) in entries.slice.iter().enumerate() {
            if !matches!(
                entry.kind,
                Kind::USER_ACCESS | Kind::KERNEL_ACCESS | Kind::USER_COPY
            ) {
                return Err(Malformed::UnknownKind {
                    index,
                    kind: entry.kind,
                });
            }
            match Access::decode(entry.data) {
                Some(Access::Single { .. }) if entry.kind == Kind::USER_COPY => {
                    return Err(Malformed::BadAccess {
                        index,
                        data: entry.data,
                    });
                }
                Some(_) => {}
                None => {
                    return Err(Malformed::BadAccess {
                        index,
                        data: entry.data,
                    });
                }
            }
            let Some(before) = index.checked_sub(1) else {
                continue;
            };
            let before = entries.instruction(&entries.slice[before]);
            match before.cmp(&entries.instruction(entry)) {
                core::cmp::Ordering::Less => {}
                core::cmp::Ordering::Equal => return Err(Malformed::Duplicate { index }),
                core::cmp::Ordering::Greater => return Err(Malformed::Unsorted { index }),
            }
        }
        let last = AtomicUsize::new(0);
        Ok(Self { entries, last })
    }

    /// Checks further that every instruction and landing pad lies in `text`.
    ///
    /// # Errors
    ///
    /// [`Malformed::OutsideText`] names the first that does not.
    pub fn within(&self, text: Range<usize>) -> Result<(), Malformed> {
        for (index, fixup) in self.iter().enumerate() {
            for address in [fixup.instruction, fixup.landing_pad] {
                if !text.contains(&address) {
                    return Err(Malformed::OutsideText { index, address });
                }
            }
        }
        Ok(())
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.slice.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.slice.is_empty()
    }

    /// All entries in the order of their instructions, with their addresses resolved.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Fixup> + use<'a> {
        let entries = self.entries;
        entries
            .slice
            .iter()
            .map(move |entry| entries.resolve(entry))
    }

    /// The entry that covers the instruction at `pc`, whatever it excuses.
    #[inline]
    #[must_use]
    pub fn covering(&self, pc: usize) -> Option<Fixup> {
        let covers = |entry: &&Entry| self.entries.instruction(entry) == pc;
        let last = self.last.load(Ordering::Relaxed);
        let entry = self.entries.slice.get(last).filter(covers);
        Some(self.entries.resolve(entry.or_else(|| self.search(pc))?))
    }

    fn search(&self, pc: usize) -> Option<&'a Entry> {
        let instruction = |entry: &Entry| self.entries.instruction(entry);
        let slice = self.entries.slice;
        let index = slice.binary_search_by_key(&pc, instruction).ok()?;
        self.last.store(index, Ordering::Relaxed);
        Some(&slice[index])
    }

    /// The fixup for `abort`, taken at `pc`, if there is an entry and it excuses that cause.
    #[inline]
    #[must_use]
    pub fn find(&self, pc: usize, abort: &Abort) -> Option<Fixup> {
        self.covering(pc).filter(|fixup| fixup.excuses(abort))
    }
}

impl Entries<'_> {
    fn resolve(&self, entry: &Entry) -> Fixup {
        Fixup {
            instruction: self.instruction(entry),
            landing_pad: entry.fixup().wrapping_add_signed(self.bias),
            kind: entry.kind,
            data: entry.data,
        }
    }

    fn instruction(&self, entry: &Entry) -> usize {
        entry.instruction().wrapping_add_signed(self.bias)
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
