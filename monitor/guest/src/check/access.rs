//! One access: what it is, where it goes, and the trial that makes it.

use core::fmt;
use core::ops::Range;

use control::LINE;
use guest::memory::LENGTH;
use guest::{Memory, Random};
use syndrome::Pstate;

use super::class::{Class, Kind, Size, Space};
use crate::machine::arena::{self, View};
use crate::machine::stub;
use crate::machine::trial::{Mode, Trial};

/// The longest copy.
pub(crate) const LONGEST: usize = 3000;

/// An access, in full: it can be made again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// What it is.
    pub(crate) class: &'a Class,
    /// Who makes it.
    pub(crate) mode: Mode,
    /// Where it starts in the model.
    pub(crate) offset: usize,
    /// How many bytes it touches.
    pub(crate) length: usize,
    /// How far from its source a copy goes, or where the second element of a gather is.
    pub(crate) distance: usize,
    /// The top byte of the address.
    pub(crate) tag: u8,
    /// What its operands follow from.
    pub(crate) operand: u64,
    /// Whether a compare-and-swap is to succeed.
    pub(crate) matches: bool,
}

impl<'a> Access<'a> {
    /// A random access of this class.
    pub(crate) fn random(class: &'a Class, memory: &Memory, random: &mut Random) -> Self {
        let mut length = class.bytes();
        if matches!(class.size, Size::Any) {
            let longest = [300, 300, 300, LONGEST - 1][random.below(4)];
            length = 1 + random.below(longest);
        }
        let distance = match class.kind {
            Kind::CopyBackward => {
                length += 1;
                1 + random.below(length - 1)
            }
            Kind::Gather => random.below(LENGTH / 8) * 8,
            _ => random.below(64),
        };
        let room = match class.kind {
            Kind::CopyBackward => LENGTH - length - distance,
            _ => LENGTH - length,
        };
        // Half of them close to a bad line, or most would be far from all.
        let line = random.below(LENGTH / LINE as usize);
        let near = (0..LENGTH / LINE as usize)
            .map(|step| (line + step) % (LENGTH / LINE as usize))
            .find(|line| memory.is_poisoned(*line));
        let offset = match near {
            Some(line) if random.once_in(2) => {
                let around = length + 2 * LINE as usize;
                (line * LINE as usize + LINE as usize * 2 + 8)
                    .saturating_sub(random.below(around + LINE as usize))
            }
            _ => random.below(LENGTH),
        };
        let offset = offset.min(room);
        Self {
            class,
            mode: match class.space {
                Space::Any if random.once_in(4) => Mode::El0,
                Space::Any | Space::User if random.once_in(8) => Mode::El1t,
                _ => Mode::El1h,
            },
            offset: offset - offset % class.alignment,
            length,
            distance,
            tag: match class.space {
                Space::Tagged => 0,
                _ if random.once_in(4) => random.next() as u8,
                _ => 0,
            },
            operand: random.next(),
            matches: random.once_in(2),
        }
    }

    /// An access of this class at `offset`.
    pub(crate) fn at(class: &'a Class, mode: Mode, offset: usize) -> Self {
        Self {
            class,
            mode,
            offset,
            length: match class.size {
                Size::Any => 200,
                _ => class.bytes(),
            },
            distance: 40,
            tag: 0,
            operand: 0x1122_3344_5566_7788 ^ offset as u64,
            matches: offset.is_multiple_of(2),
        }
    }

    /// The bytes of the model that it touches.
    pub(crate) fn range(&self) -> Range<usize> {
        match self.class.kind {
            Kind::Zero => {
                let start = self.offset - self.offset % LINE as usize;
                start..start + LINE as usize
            }
            _ => self.offset..self.offset + self.length,
        }
    }

    /// The bytes that it writes if nothing goes wrong.
    pub(crate) fn written(&self) -> Range<usize> {
        match self.class.kind {
            Kind::CopyBackward => {
                let start = self.offset + self.distance;
                start..start + self.length
            }
            Kind::Store | Kind::StoreWhole | Kind::Zero | Kind::Set => self.range(),
            _ => 0..0,
        }
    }

    /// The mapping that it goes through.
    pub(crate) fn view(&self) -> View {
        match (self.class.space, self.mode) {
            (Space::Tagged, _) => View::Tagged,
            (Space::User, _) | (_, Mode::El0) => View::User,
            _ => View::Kernel,
        }
    }

    /// The trial that makes the access, with the target at `base`.
    pub(crate) fn trial(&self, base: u64) -> Trial {
        let class = self.class;
        let tag = u64::from(self.tag) << 56;
        let address = base + self.offset as u64;
        let register = (address as i64 - class.offset) as u64 | tag;
        let buffer = self.buffer_view().address(arena::buffer(), 0);
        let trial = Trial::new(class.stub, self.mode)
            .with(0, register)
            .with(1, self.operand)
            .with(2, !self.operand)
            .with(3, buffer)
            .with(30, self.operand.rotate_left(7))
            .flipping(self.operand & Pstate::NZCV);
        match class.kind {
            Kind::Load if class.stub.address() == stub::LDR_X_REGISTER.address() => {
                trial.with(0, register.wrapping_sub(24)).with(4, 3)
            }
            Kind::Gather => trial
                .with(0, base | tag)
                .with(4, self.buffer_view().address(arena::buffer() + 1, 0)),
            Kind::CopyForward => trial
                .with(0, buffer + self.distance as u64)
                .with(1, register)
                .with(2, self.length as u64),
            Kind::CopyBackward => trial
                .with(0, (address + self.distance as u64) | tag)
                .with(1, register)
                .with(2, self.length as u64),
            Kind::Set => trial.with(1, self.length as u64).with(2, self.operand),
            Kind::TagStore => trial.with(1, register),
            _ => trial,
        }
    }

    fn buffer_view(&self) -> View {
        match (self.class.space, self.mode) {
            (Space::User, _) | (_, Mode::El0) => View::User,
            _ => View::Kernel,
        }
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {:#x}, {} bytes, distance {}, tag {:#x}, operand {:#x}, {:?}",
            self.class.name,
            self.offset,
            self.length,
            self.distance,
            self.tag,
            self.operand,
            self.mode,
        )
    }
}
