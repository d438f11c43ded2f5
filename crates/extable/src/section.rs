//! The section in which a program or shared object carries its entries.

use crate::{Entry, Malformed};

/// Name of the section. A C identifier, so that linkers define `__start_` and `__stop_` symbols
/// for it; our own, so that no other project's entries end up among ours.
pub const SECTION: &str = "seaworthy_extable";

/// The assembly text of one entry, a string literal for `asm!`, `naked_asm!` and `global_asm!`.
///
/// `entry!(instruction, landing_pad, Kind, data)`: two assembler labels, one of `UserAccess`,
/// `KernelAccess` and `UserCopy`, and an assembler expression, in one or more pieces, whose value
/// is an encoded [`Access`](crate::Access); all but the kind are string literals.
///
/// ```
/// let text = extable::entry!("2b", "3f", KernelAccess, "0x3e0");
/// assert!(text.contains(extable::SECTION));
/// ```
///
/// The section is retained when unused code is collected, so its entries keep the code they
/// cover; it is read-only data and never relocated.
#[macro_export]
macro_rules! entry {
    ($instruction:literal, $landing_pad:literal, UserAccess, $($data:literal),+) => {
        $crate::entry!(@ $instruction, $landing_pad, "1", $($data),+)
    };
    ($instruction:literal, $landing_pad:literal, KernelAccess, $($data:literal),+) => {
        $crate::entry!(@ $instruction, $landing_pad, "2", $($data),+)
    };
    ($instruction:literal, $landing_pad:literal, UserCopy, $($data:literal),+) => {
        $crate::entry!(@ $instruction, $landing_pad, "3", $($data),+)
    };
    (@ $instruction:literal, $landing_pad:literal, $kind:literal, $($data:literal),+) => {
        concat!(
            ".pushsection seaworthy_extable,\"aR\",@progbits\n",
            ".balign 4\n",
            ".long ", $instruction, " - .\n",
            ".long ", $landing_pad, " - .\n",
            ".short ", $kind, "\n",
            ".short ", $($data,)+ "\n",
            ".popsection\n",
        )
    };
}

/// Declares a function that returns the entries of the program or shared object into which it is
/// compiled, in link order, which need not be sorted.
///
/// ```
/// extable::section!(
///     /// The entries of this program.
///     fn entries
/// );
///
/// fn main() {
///     assert!(entries().is_ok());
/// }
/// ```
#[macro_export]
macro_rules! section {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident) => {
        // The section must exist even if nothing else puts an entry in it; and its bounds must
        // be those of this link unit even if a library it loads has a table of its own.
        $crate::__private::global_asm!(
            ".pushsection seaworthy_extable,\"aR\",@progbits",
            ".balign 4",
            ".popsection",
            ".hidden __start_seaworthy_extable",
            ".hidden __stop_seaworthy_extable",
        );

        $(#[$attribute])*
        $visibility fn $name() -> ::core::result::Result<&'static [$crate::Entry], $crate::Malformed> {
            unsafe extern "C" {
                #[link_name = "__start_seaworthy_extable"]
                static START: $crate::Entry;
                #[link_name = "__stop_seaworthy_extable"]
                static STOP: $crate::Entry;
            }
            // SAFETY: the linker defines both symbols as the bounds of the section, which holds
            // only what `entry!` emits and is mapped for as long as this code is.
            unsafe { $crate::section_between(&raw const START, &raw const STOP) }
        }
    };
}

/// The entries between two linker symbols.
///
/// # Errors
///
/// [`Malformed::Size`] if that is not a whole number of aligned entries.
///
/// # Safety
///
/// The memory from `start` to `stop` must be initialised, and readable and unchanged for ever.
pub unsafe fn section_between(
    start: *const Entry,
    stop: *const Entry,
) -> Result<&'static [Entry], Malformed> {
    let bytes = stop.addr().wrapping_sub(start.addr());
    if stop < start || !bytes.is_multiple_of(Entry::SIZE) || !start.is_aligned() {
        return Err(Malformed::Size { bytes });
    }
    // SAFETY: in bounds and initialised by this function's contract; aligned and a whole number
    // of entries by the check above; any bytes are a valid `Entry`.
    Ok(unsafe { core::slice::from_raw_parts(start, bytes / Entry::SIZE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_a_broken_size_is_an_error() {
        static ENTRIES: [Entry; 2] = [const {
            Entry {
                instruction: 0,
                fixup: 0,
                kind: crate::Kind(0),
                data: 0,
            }
        }; 2];
        let start = ENTRIES.as_ptr();
        let check = |start: *const Entry, stop: *const Entry| {
            // SAFETY: every pair used below lies within the static array, or is refused.
            unsafe { section_between(start, stop) }.map(<[Entry]>::len)
        };
        assert_eq!(check(start, start), Ok(0));
        assert_eq!(check(start, start.wrapping_add(2)), Ok(2));
        assert_eq!(
            check(start, start.wrapping_byte_add(13)),
            Err(Malformed::Size { bytes: 13 })
        );
        let odd = start.wrapping_byte_add(1);
        assert_eq!(
            check(odd, odd.wrapping_add(1)),
            Err(Malformed::Size { bytes: 12 })
        );
        assert!(check(start.wrapping_add(1), start).is_err());
    }
}
