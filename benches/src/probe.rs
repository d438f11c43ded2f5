//! The other end of instruction counting: the emulated program, which calls what it is told to.

use anyhow::{Context, Result, ensure};

use crate::contestant::{self, Contestant};
use crate::memory::{Alignment, Arena, Operation};
use crate::plan;
use crate::rivals;
use crate::routines::{ROUTINES, Routine};

/// The name under which [`addresses`] lists the loop that calls the others.
pub(crate) const LOOP: &str = "loop";

/// Prints where the code of every contestant starts, one a line: address, name.
pub(crate) fn addresses() {
    println!("{:#x} {LOOP}", contestant::repeat_address());
    for (_, contestant) in contestants() {
        println!("{:#x} {}", contestant.address(), contestant.name);
    }
}

/// A place as the command line has it: `64` or, misaligned, `64+`.
pub(crate) fn argument(&(bytes, alignment): &(usize, Alignment)) -> String {
    let mark = if alignment == Alignment::None {
        "+"
    } else {
        ""
    };
    format!("{bytes}{mark}")
}

/// Reads what [`argument`] wrote.
pub(crate) fn parse_place(text: &str) -> Result<(usize, Alignment), String> {
    let (digits, alignment) = match text.strip_suffix('+') {
        Some(digits) => (digits, Alignment::None),
        None => (text, Alignment::Page),
    };
    Ok((crate::parse_bytes(digits)?, alignment))
}

/// Calls the contestant `name` once at each of `places`.
///
/// # Errors
///
/// If there is no such contestant, or it fails.
pub(crate) fn call(name: &str, places: &[(usize, Alignment)]) -> Result<()> {
    let (operation, contestant) = contestants()
        .find(|(_, contestant)| contestant.name == name)
        .with_context(|| format!("there is no {name:?} here"))?;
    let largest = places.iter().map(|&(bytes, _)| bytes).max();
    let arena = Arena::new(largest.unwrap_or(0))?;
    for &(bytes, alignment) in places {
        let place = arena.place(bytes, alignment, 0);
        operation.prepare(place);
        ensure!(contestant.call(place), "{name} failed with {place:?}");
    }
    Ok(())
}

fn contestants() -> impl Iterator<Item = (Operation, Contestant)> {
    let ours = plan::variants().flat_map(|variant| {
        let of = move |routine: &Routine| (routine.operation, routine.of(variant));
        ROUTINES.iter().map(of)
    });
    let rivals = Operation::ALL.into_iter().flat_map(|operation| {
        let with = move |rival| (operation, rival);
        rivals::of(operation).into_iter().map(with)
    });
    ours.chain(rivals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_the_command_line() {
        for place in [(64, Alignment::Page), (4096, Alignment::None)] {
            assert_eq!(parse_place(&argument(&place)), Ok(place));
        }
        assert!(parse_place("+").is_err() && parse_place("").is_err());
    }
}
