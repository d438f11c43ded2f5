//! A checked, sorted table and its search.

use core::fmt;
use core::ops::Range;

use crate::{Abort, Access, Entry, Fixup, Kind};

/// A table that was checked when it was made: sorted, no instruction twice, every entry of a
/// known kind with data that decode.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    entries: &'a [Entry],
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
        let table = Self { entries, bias };
        for (index, entry) in entries.iter().enumerate() {
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
            match table
                .instruction(&entries[before])
                .cmp(&table.instruction(entry))
            {
                core::cmp::Ordering::Less => {}
                core::cmp::Ordering::Equal => return Err(Malformed::Duplicate { index }),
                core::cmp::Ordering::Greater => return Err(Malformed::Unsorted { index }),
            }
        }
        Ok(table)
    }

    /// Checks further that every instruction and landing pad lies in `text`.
    ///
    /// # Errors
    ///
    /// [`Malformed::OutsideText`] names the first that does not.
    pub fn within(self, text: Range<usize>) -> Result<Self, Malformed> {
        for (index, entry) in self.entries.iter().enumerate() {
            for address in [self.instruction(entry), self.fixup(entry)] {
                if !text.contains(&address) {
                    return Err(Malformed::OutsideText { index, address });
                }
            }
        }
        Ok(self)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in the order of their instructions, with their addresses resolved.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Fixup> + use<'a> {
        let table = *self;
        table.entries.iter().map(move |entry| table.resolve(entry))
    }

    /// The entry that covers the instruction at `pc`, whatever it excuses.
    #[must_use]
    pub fn covering(&self, pc: usize) -> Option<Fixup> {
        let found = self
            .entries
            .binary_search_by_key(&pc, |entry| self.instruction(entry));
        Some(self.resolve(&self.entries[found.ok()?]))
    }

    /// The fixup for `abort`, taken at `pc`, if there is an entry and it excuses that cause.
    #[must_use]
    pub fn find(&self, pc: usize, abort: &Abort) -> Option<Fixup> {
        self.covering(pc).filter(|fixup| fixup.excuses(abort))
    }

    fn resolve(&self, entry: &Entry) -> Fixup {
        Fixup {
            instruction: self.instruction(entry),
            landing_pad: self.fixup(entry),
            kind: entry.kind,
            data: entry.data,
        }
    }

    fn instruction(&self, entry: &Entry) -> usize {
        entry.instruction().wrapping_add_signed(self.bias)
    }

    fn fixup(&self, entry: &Entry) -> usize {
        entry.fixup().wrapping_add_signed(self.bias)
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
