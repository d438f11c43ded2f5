//! The routines of this project as contestants.

use copy::{PAGE_SIZE, Routines};

use crate::contestant::Contestant;
use crate::memory::{Alignment, Operation};

/// A routine that can be raced, in any variant.
pub(crate) struct Routine {
    pub(crate) name: &'static str,
    pub(crate) operation: Operation,
    /// The only number of bytes it works on, if there is but one.
    pub(crate) only: Option<usize>,
    /// The routine of the same instructions without table entries. What it differs by is noise.
    plain: Option<&'static str>,
}

/// Every bulk routine. (`clear_user` fills with the value it is given, as `fill_mc` does; it is
/// the library that always gives it 0.)
pub(crate) static ROUTINES: &[Routine] = &[
    copy("memcpy_mc"),
    copy("copy_from_user"),
    copy("copy_to_user"),
    Routine {
        only: Some(PAGE_SIZE),
        plain: Some("copy_page"),
        ..copy("copy_mc_page")
    },
    other("fill_mc", Operation::Fill),
    other("clear_user", Operation::Fill),
    other("compare_mc", Operation::Compare),
    other("is_zero_mc", Operation::ZeroTest),
];

const fn copy(name: &'static str) -> Routine {
    Routine {
        name,
        operation: Operation::Copy,
        only: None,
        plain: Some("memcpy"),
    }
}

const fn other(name: &'static str, operation: Operation) -> Routine {
    Routine {
        name,
        operation,
        only: None,
        plain: None,
    }
}

impl Routine {
    /// Its name in reports: `memcpy_mc/avx512`.
    pub(crate) fn full_name(&self, variant: &Routines) -> String {
        format!("{}/{}", self.name, variant.name())
    }

    /// This routine of one variant, which the CPU must be able to run.
    pub(crate) fn of(&self, variant: &Routines) -> Contestant {
        self.contestant(self.full_name(variant), self.name, variant)
    }

    /// Its rival without table entries.
    pub(crate) fn plain(&self, variant: &Routines) -> Option<Contestant> {
        Some(self.contestant("no table".to_owned(), self.plain?, variant))
    }

    /// To what its operands are aligned when it is measured.
    fn alignments(&self) -> &'static [Alignment] {
        match self.only {
            Some(_) => &[Alignment::Page],
            None => &[Alignment::Line, Alignment::None],
        }
    }

    fn contestant(&self, title: String, name: &str, variant: &Routines) -> Contestant {
        let entry = variant.code().find(|&(each, _)| each == name);
        let (_, address) = entry.expect("every variant has every routine");
        let function = std::ptr::with_exposed_provenance(address);
        // SAFETY: routines take the arguments of their operation, those of pages ignore the
        // third, and the first result register counts the bytes that remain.
        unsafe { Contestant::new(title, self.operation, function, |rest, _| rest == 0) }
    }
}

/// The routine of this name.
pub(crate) fn named(name: &str) -> Option<&'static Routine> {
    ROUTINES.iter().find(|routine| routine.name == name)
}

/// Where a routine is measured: every size at every alignment.
pub(crate) fn places(
    routine: &Routine,
    sizes: &[usize],
) -> impl Iterator<Item = (usize, Alignment)> {
    let alignments = routine.alignments().iter();
    alignments.flat_map(move |&alignment| sizes.iter().map(move |&size| (size, alignment)))
}
