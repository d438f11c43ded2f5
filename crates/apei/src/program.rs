//! Running the actions of a table.
//!
//! The instructions are firmware's, so they are bounded: looping ends after so many steps, waiting
//! after so many microseconds, copying after so many bytes.

use core::fmt;

use crate::{BadRegister, Instruction, InstructionEntry, Platform, Register};

/// The instructions of a table, and which of them it may use.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    entries: &'a [InstructionEntry],
    set: InstructionSet,
}

/// Which instructions a table may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Reads and writes of registers: EINJ and trigger tables.
    Injection,
    /// All of them: ERST.
    Serialization,
}

/// How much an action, or an operation made of several, may do before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the table that are looked at, and rounds of an instruction that loops.
    pub steps: u64,
    /// Microseconds of waiting.
    pub microseconds: u64,
    /// Bytes that are copied.
    pub copied: u64,
}

/// Why an action failed, and where. `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunError<E> {
    /// The action.
    pub action: u8,
    /// Which of its instructions, counted from 0.
    pub index: u64,
    /// Why.
    pub cause: RunCause<E>,
}

/// Why an instruction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCause<E> {
    /// The table has no instructions for the action.
    NoSuchAction,
    /// The table may not use this instruction, or nobody has defined it.
    UnknownInstruction(Instruction),
    /// Its register is none.
    Register(BadRegister),
    /// The platform refused an access, or it failed.
    Platform(E),
    /// It goes on at an instruction that the action does not have.
    Target(u64),
    /// [`Limits::steps`] are used up.
    TooManySteps,
    /// [`Limits::microseconds`] are used up.
    TimedOut,
    /// The copy exceeds [`Limits::copied`], or passes the end of the address space.
    Copy {
        /// Number of bytes.
        length: u64,
    },
}

impl Default for Limits {
    /// A million steps, one second, 64 KiB.
    fn default() -> Self {
        Self {
            steps: 1_000_000,
            microseconds: 1_000_000,
            copied: 64 * 1024,
        }
    }
}

impl<'a> Program<'a> {
    /// The instructions of a table.
    pub const fn new(entries: &'a [InstructionEntry], set: InstructionSet) -> Self {
        Self { entries, set }
    }

    /// All instructions, in the order of the table.
    pub const fn entries(&self) -> &'a [InstructionEntry] {
        self.entries
    }

    /// The instructions of one action, in order.
    pub fn action(&self, action: u8) -> impl Iterator<Item = &'a InstructionEntry> + use<'a> {
        self.entries
            .iter()
            .filter(move |entry| entry.action == action)
    }

    /// Whether the table has instructions for an action.
    pub fn has(&self, action: u8) -> bool {
        self.action(action).next().is_some()
    }

    /// Runs an action, started with `input`, and returns its result.
    ///
    /// # Errors
    ///
    /// [`RunError`]; the instructions before the one that failed have taken effect.
    pub fn run<P: Platform>(
        &self,
        action: u8,
        input: u64,
        mut limits: Limits,
        platform: &mut P,
    ) -> Result<u64, RunError<P::Error>> {
        self.run_within(action, input, &mut limits, platform)
    }

    /// As [`run`](Self::run), with limits that are used up.
    pub(crate) fn run_within<P: Platform>(
        &self,
        action: u8,
        input: u64,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<u64, RunError<P::Error>> {
        let mut machine = Machine {
            platform,
            left,
            result: input,
            var1: 0,
            var2: 0,
            source: 0,
            destination: 0,
        };
        let failed = |index, cause| RunError {
            action,
            index,
            cause,
        };
        if !self.has(action) {
            return Err(failed(0, RunCause::NoSuchAction));
        }
        let mut index = 0;
        while let Some((position, entry)) = self.nth(action, index) {
            let next = if self.set.has(entry.instruction) {
                machine
                    .count_steps(position as u64 + 1)
                    .and_then(|()| machine.step(entry))
            } else {
                Err(RunCause::UnknownInstruction(entry.instruction))
            };
            index = match next.map_err(|cause| failed(index, cause))? {
                Next::Instruction => index + 1,
                // Leaving out an instruction that is not there ends the action.
                Next::Skip => index + 2,
                Next::Goto(target) if self.nth(action, target).is_some() => target,
                Next::Goto(target) => return Err(failed(index, RunCause::Target(target))),
            };
        }
        Ok(machine.result)
    }

    /// Runs an action that a table may leave out.
    pub(crate) fn run_if_present<P: Platform>(
        &self,
        action: u8,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<(), RunError<P::Error>> {
        if self.has(action) {
            self.run_within(action, 0, left, platform)?;
        }
        Ok(())
    }

    /// An action's instruction and where it is among all.
    fn nth(&self, action: u8, index: u64) -> Option<(usize, &'a InstructionEntry)> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.action == action)
            .nth(usize::try_from(index).ok()?)
    }
}

impl InstructionSet {
    const fn has(self, instruction: Instruction) -> bool {
        let last = match self {
            Self::Injection => Instruction::NOOP,
            Self::Serialization => Instruction::MOVE_DATA,
        };
        instruction.0 <= last.0
    }
}

/// Where an action goes on.
enum Next {
    Instruction,
    Skip,
    Goto(u64),
}

struct Machine<'p, P> {
    platform: &'p mut P,
    left: &'p mut Limits,
    result: u64,
    var1: u64,
    var2: u64,
    source: u64,
    destination: u64,
}

impl<P: Platform> Machine<'_, P> {
    fn step(&mut self, entry: &InstructionEntry) -> Result<Next, RunCause<P::Error>> {
        use Instruction as I;
        let value = entry.value.get();
        match entry.instruction {
            I::READ_REGISTER => self.result = self.read(entry)?,
            I::READ_REGISTER_VALUE => self.result = u64::from(self.read(entry)? == value),
            I::WRITE_REGISTER => self.write(entry, self.result)?,
            I::WRITE_REGISTER_VALUE => self.write(entry, value)?,
            I::NOOP => {}
            I::LOAD_VAR1 => self.var1 = self.read(entry)?,
            I::LOAD_VAR2 => self.var2 = self.read(entry)?,
            I::STORE_VAR1 => self.write(entry, self.var1)?,
            I::ADD => self.var1 = self.var1.wrapping_add(self.var2),
            I::SUBTRACT => self.var1 = self.var2.wrapping_sub(self.var1),
            I::ADD_VALUE => {
                let sum = self.read(entry)?.wrapping_add(value);
                self.write(entry, sum)?;
            }
            I::SUBTRACT_VALUE => {
                let difference = self.read(entry)?.wrapping_sub(value);
                self.write(entry, difference)?;
            }
            I::STALL => self.stall(value)?,
            I::STALL_WHILE_TRUE => {
                while self.read(entry)? == value {
                    self.count_steps(1)?;
                    self.stall(self.var1)?;
                }
            }
            I::SKIP_NEXT_INSTRUCTION_IF_TRUE if self.read(entry)? == value => {
                return Ok(Next::Skip);
            }
            I::SKIP_NEXT_INSTRUCTION_IF_TRUE => {}
            I::GOTO => return Ok(Next::Goto(value)),
            I::SET_SRC_ADDRESS_BASE => self.source = self.read(entry)?,
            I::SET_DST_ADDRESS_BASE => self.destination = self.read(entry)?,
            I::MOVE_DATA => {
                let offset = self.read(entry)?;
                self.copy(offset)?;
            }
            other => return Err(RunCause::UnknownInstruction(other)),
        }
        Ok(Next::Instruction)
    }

    fn read(&mut self, entry: &InstructionEntry) -> Result<u64, RunCause<P::Error>> {
        let register = entry.register.register().map_err(RunCause::Register)?;
        let whole = self.read_whole(register)?;
        Ok(whole >> entry.register.bit_offset & entry.mask.get())
    }

    fn read_whole(&mut self, register: Register) -> Result<u64, RunCause<P::Error>> {
        self.platform.read(register).map_err(RunCause::Platform)
    }

    fn write(&mut self, entry: &InstructionEntry, value: u64) -> Result<(), RunCause<P::Error>> {
        let register = entry.register.register().map_err(RunCause::Register)?;
        let offset = entry.register.bit_offset;
        let mask = entry.mask.get();
        let kept = if entry.flags & InstructionEntry::PRESERVE_REGISTER != 0 {
            self.read_whole(register)? & !(mask << offset)
        } else {
            0
        };
        let whole = kept | (value & mask) << offset;
        self.platform
            .write(register, whole & register.width.mask())
            .map_err(RunCause::Platform)
    }

    fn count_steps(&mut self, count: u64) -> Result<(), RunCause<P::Error>> {
        let left = self.left.steps.checked_sub(count);
        self.left.steps = left.ok_or(RunCause::TooManySteps)?;
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) -> Result<(), RunCause<P::Error>> {
        let left = self.left.microseconds.checked_sub(microseconds);
        self.left.microseconds = left.ok_or(RunCause::TimedOut)?;
        self.platform.stall(microseconds);
        Ok(())
    }

    /// Copies as `memmove` does: ranges that overlap come out right.
    fn copy(&mut self, offset: u64) -> Result<(), RunCause<P::Error>> {
        const CHUNK: usize = 64;
        let length = self.var2;
        let bad = RunCause::Copy { length };
        let range = |base: u64| {
            let start = base.checked_add(offset)?;
            start.checked_add(length).map(|_| start)
        };
        let (Some(from), Some(to)) = (range(self.source), range(self.destination)) else {
            return Err(bad);
        };
        let Some(left) = self.left.copied.checked_sub(length) else {
            return Err(bad);
        };
        self.left.copied = left;
        let backwards = from < to;
        let mut done = 0;
        while done < length {
            let count = (length - done).min(CHUNK as u64);
            let at = if backwards {
                length - done - count
            } else {
                done
            };
            let chunk = &mut [0; CHUNK][..count as usize];
            let platform = &mut *self.platform;
            platform
                .read_memory(from + at, chunk)
                .and_then(|()| platform.write_memory(to + at, chunk))
                .map_err(RunCause::Platform)?;
            done += count;
        }
        Ok(())
    }
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            index,
            cause,
        } = self;
        write!(f, "action {action:#04x}, instruction {index}: {cause}")
    }
}

impl<E: fmt::Display> fmt::Display for RunCause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchAction => f.write_str("the table has no instructions for it"),
            Self::UnknownInstruction(instruction) => {
                write!(f, "{instruction} is unknown in this table")
            }
            Self::Register(error) => write!(f, "{error}"),
            Self::Platform(error) => write!(f, "{error}"),
            Self::Target(target) => write!(f, "there is no instruction {target} to go to"),
            Self::TooManySteps => f.write_str("it does not end"),
            Self::TimedOut => f.write_str("it waits too long"),
            Self::Copy { length } => write!(f, "{length} bytes are too many to copy"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for RunError<E> {}
