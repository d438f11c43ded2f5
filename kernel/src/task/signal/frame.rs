//! What a signal handler finds on its stack, and how the interrupted program comes back.
//!
//! `struct rt_sigframe` of Linux on arm64 (`asm/sigcontext.h`, `asm/ucontext.h`): `siginfo_t`, then
//! `ucontext_t`, whose last 4096 bytes hold records with a magic number and a size each. After it
//! comes a frame record, so that a debugger sees the interrupted function as the caller.

use linux_raw_sys::general as linux;

use crate::arch::{FpRegisters, PSTATE_USER, Registers};
use crate::task::AlternateStack;
use crate::task::signal::{INFO_SIZE, Info, SignalSet};

/// The size of `struct rt_sigframe` in bytes.
pub(super) const FRAME_SIZE: usize = RECORDS + RECORDS_SIZE;
/// The size with the frame record, in bytes: a multiple of 16.
pub(super) const TOTAL_SIZE: usize = FRAME_SIZE + 16;

const FLAGS: usize = INFO_SIZE;
/// Where `ucontext_t` is.
pub(super) const CONTEXT_OFFSET: usize = INFO_SIZE;
const STACK: usize = FLAGS + 16;
const MASK: usize = STACK + 24;
/// 128 bytes are kept for the mask, and what follows is aligned to 16.
const CONTEXT: usize = MASK + 128 + 8;
const FAULT_ADDRESS: usize = CONTEXT;
const REGISTERS: usize = CONTEXT + 8;
const RECORDS: usize = CONTEXT + 288;
const RECORDS_SIZE: usize = 4096;

const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_SIZE: usize = 528;
const ESR_MAGIC: u32 = 0x4553_5201;
const ESR_SIZE: usize = 16;
/// A record's magic number and size.
const HEAD: usize = 8;

/// How much of a frame has contents.
pub(super) const WRITTEN_SIZE: usize = RECORDS + FPSIMD_SIZE + ESR_SIZE + HEAD;

/// The code that a handler returns to: `mov x8, #139` (`rt_sigreturn`) and `svc #0`. Unwinders know
/// it by these instructions. Arm ARM DDI 0487, C6.2 (MOV (wide immediate), SVC).
pub const TRAMPOLINE: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// The fault behind a signal: what `esr_context` and `fault_address` show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// FAR_EL1.
    pub address: u64,
    /// ESR_EL1.
    pub syndrome: u64,
}

/// The interrupted program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    /// Its registers.
    pub registers: Registers,
    /// Its SIMD registers, unless a handler took the record away.
    pub fp: Option<FpRegisters>,
    /// What it blocked.
    pub mask: SignalSet,
    /// Its stack for handlers.
    pub stack: AlternateStack,
}

/// A frame as it is written to user memory, up to the last byte with contents.
pub(super) type Bytes = [u8; WRITTEN_SIZE];

/// Writes pieces one after the other.
struct Writer<'a>(&'a mut Bytes);

impl Writer<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: usize, words: impl IntoIterator<Item = u64>) {
        for (index, word) in words.into_iter().enumerate() {
            self.put(at + index * 8, &word.to_le_bytes());
        }
    }

    fn record(&mut self, at: usize, magic: u32, size: usize) {
        self.put(at, &magic.to_le_bytes());
        self.put(at + 4, &(size as u32).to_le_bytes());
    }
}

/// `stack_t`: address, flags, length.
pub fn stack_bytes(stack: &AlternateStack, flags: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&stack.base.to_le_bytes());
    bytes[8..12].copy_from_slice(&flags.to_le_bytes());
    bytes[16..].copy_from_slice(&stack.length.to_le_bytes());
    bytes
}

/// The flags of a stack that is not in use.
pub fn stack_flags(stack: &AlternateStack) -> u32 {
    let state = if stack.length == 0 {
        linux::SS_DISABLE
    } else {
        0
    };
    state
        | if stack.disarm {
            linux::SS_AUTODISARM
        } else {
            0
        }
}

/// The frame for one signal.
pub(super) fn build(info: &Info, saved: &Saved, fault: Option<Fault>) -> Bytes {
    let mut bytes = [0; WRITTEN_SIZE];
    let mut writer = Writer(&mut bytes);
    writer.put(0, &info.to_bytes());
    writer.put(STACK, &stack_bytes(&saved.stack, stack_flags(&saved.stack)));
    writer.words(MASK, [saved.mask.0]);
    writer.words(FAULT_ADDRESS, [fault.map_or(0, |fault| fault.address)]);
    let registers = &saved.registers;
    let rest = [registers.sp, registers.pc, registers.pstate];
    writer.words(REGISTERS, registers.x.into_iter().chain(rest));
    let mut at = RECORDS;
    if let Some(fp) = &saved.fp {
        writer.record(at, FPSIMD_MAGIC, FPSIMD_SIZE);
        writer.put(at + 8, &fp.status.to_le_bytes());
        writer.put(at + 12, &fp.control.to_le_bytes());
        for (index, register) in fp.v.iter().enumerate() {
            writer.put(at + 16 + index * 16, &register.to_le_bytes());
        }
        at += FPSIMD_SIZE;
    }
    if let Some(fault) = fault {
        writer.record(at, ESR_MAGIC, ESR_SIZE);
        writer.words(at + 8, [fault.syndrome]);
    }
    bytes
}

/// Reads pieces of user memory at offsets of the frame, or fails.
struct Reader<R>(R);

impl<E, R: FnMut(usize, &mut [u8]) -> Result<(), E>> Reader<R> {
    fn bytes<const N: usize>(&mut self, at: usize) -> Result<[u8; N], E> {
        let mut bytes = [0; N];
        (self.0)(at, &mut bytes)?;
        Ok(bytes)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    word(bytes, at & !7).to_le_bytes()[at & 7..]
        .first_chunk()
        .map_or(0, |half| u32::from_le_bytes(*half))
}

/// What a frame says, of which `read` fills a buffer from an offset. `None` if it is not one:
/// registers that a program may not set are not believed, records that nobody knows are refused.
///
/// # Errors
///
/// Those of `read`.
pub(super) fn parse<E>(
    read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
) -> Result<Option<Saved>, E> {
    let mut reader = Reader(read);
    const LENGTH: usize = RECORDS - STACK;
    let head: [u8; LENGTH] = reader.bytes(STACK)?;
    let at = |offset: usize| word(&head, offset - STACK);
    let mut registers = Registers::default();
    for (index, register) in registers.x.iter_mut().enumerate() {
        *register = at(REGISTERS + index * 8);
    }
    registers.sp = at(REGISTERS + 31 * 8);
    registers.pc = at(REGISTERS + 32 * 8);
    registers.pstate = at(REGISTERS + 33 * 8) & PSTATE_USER;
    let flags = half(&head, 8);
    let stack = AlternateStack {
        base: at(STACK),
        length: if flags & linux::SS_DISABLE == 0 {
            at(STACK + 16)
        } else {
            0
        },
        disarm: flags & linux::SS_AUTODISARM != 0,
    };
    let mask = SignalSet(at(MASK)).without(SignalSet::ABSOLUTE);
    let Some(fp) = records(&mut reader)? else {
        return Ok(None);
    };
    Ok(Some(Saved {
        registers,
        fp,
        mask,
        stack,
    }))
}

/// The SIMD registers among the records, or `None` if the records are not sound.
fn records<E, R: FnMut(usize, &mut [u8]) -> Result<(), E>>(
    reader: &mut Reader<R>,
) -> Result<Option<Option<FpRegisters>>, E> {
    let mut fp = None;
    let mut at = RECORDS;
    while at + HEAD <= FRAME_SIZE {
        let head: [u8; HEAD] = reader.bytes(at)?;
        let size = half(&head, 4) as usize;
        match (half(&head, 0), size) {
            (0, 0) => return Ok(Some(fp)),
            (FPSIMD_MAGIC, FPSIMD_SIZE) if fp.is_none() && at + size <= FRAME_SIZE => {
                let record: [u8; FPSIMD_SIZE] = reader.bytes(at)?;
                let mut registers = FpRegisters {
                    status: half(&record, 8),
                    control: half(&record, 12),
                    ..FpRegisters::default()
                };
                for (index, register) in registers.v.iter_mut().enumerate() {
                    let low = word(&record, 16 + index * 16);
                    let high = word(&record, 24 + index * 16);
                    *register = u128::from(low) | u128::from(high) << 64;
                }
                fp = Some(registers);
            }
            (ESR_MAGIC, ESR_SIZE) => {}
            _ => return Ok(None),
        }
        at += size;
    }
    Ok(None)
}

/// Where a frame goes: below the stack pointer of the program, or on its stack for handlers.
/// Returns the new stack pointer.
pub(super) fn place(sp: u64, stack: &AlternateStack, wants_stack: bool) -> u64 {
    let on_it = stack.contains(sp);
    let top = if wants_stack && stack.length != 0 && !on_it {
        stack.base.wrapping_add(stack.length)
    } else {
        sp
    };
    (top & !15).wrapping_sub(TOTAL_SIZE as u64)
}

impl AlternateStack {
    /// Whether a stack pointer is in it. One that disarms itself is not in use in a handler.
    pub fn contains(&self, sp: u64) -> bool {
        !self.disarm && sp.wrapping_sub(self.base).wrapping_sub(1) < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ESR_MAGIC, FRAME_SIZE, Fault, RECORDS, RECORDS_SIZE, Saved, TOTAL_SIZE, WRITTEN_SIZE,
        build, half, parse, place, word,
    };
    use crate::arch::{FpRegisters, Registers};
    use crate::task::AlternateStack;
    use crate::task::signal::{Info, Signal, SignalSet};

    fn saved() -> Saved {
        let mut registers = Registers {
            sp: 0x7000,
            pc: 0x40_0000,
            pstate: 0x8000_0000,
            ..Registers::default()
        };
        let mut fp = FpRegisters {
            status: 1,
            control: 2,
            ..FpRegisters::default()
        };
        for index in 0..31 {
            registers.x[index] = 100 + index as u64;
            fp.v[index] = u128::MAX - index as u128;
        }
        Saved {
            registers,
            fp: Some(fp),
            mask: SignalSet::of(Signal::SIGUSR1),
            stack: AlternateStack {
                base: 0x1_0000,
                length: 0x2000,
                disarm: false,
            },
        }
    }

    fn parse_bytes(bytes: &[u8]) -> Option<Saved> {
        parse::<()>(|at, into| {
            into.copy_from_slice(bytes.get(at..at + into.len()).ok_or(())?);
            Ok(())
        })
        .unwrap()
    }

    fn whole(bytes: [u8; WRITTEN_SIZE]) -> Vec<u8> {
        let mut whole = bytes.to_vec();
        whole.resize(FRAME_SIZE, 0);
        whole
    }

    #[test]
    fn what_goes_in_comes_out() {
        let info = Info::fault(Signal::SIGSEGV, 1, 0x1234);
        for fault in [
            None,
            Some(Fault {
                address: 0x1234,
                syndrome: 0x9200_0010,
            }),
        ] {
            assert_eq!(
                parse_bytes(&whole(build(&info, &saved(), fault))),
                Some(saved())
            );
        }
    }

    /// Offsets from `offsetof` on an arm64 system.
    #[test]
    fn the_layout_is_linux_s() {
        assert_eq!((FRAME_SIZE, TOTAL_SIZE % 16), (4688, 0));
        let fault = Fault {
            address: 0x1234,
            syndrome: 0x9200_0010,
        };
        let bytes = build(
            &Info::fault(Signal::SIGSEGV, 1, 0x1234),
            &saved(),
            Some(fault),
        );
        assert_eq!(word(&bytes, 128 + 176), 0x1234);
        assert_eq!(word(&bytes, 128 + 176 + 8), 100);
        assert_eq!(word(&bytes, 128 + 176 + 264), 0x40_0000);
        assert_eq!(half(&bytes, 128 + 464), 0x4650_8001);
        assert_eq!(half(&bytes, 128 + 464 + 528), ESR_MAGIC);
        assert_eq!(word(&bytes, 128 + 464 + 536), 0x9200_0010);
    }

    #[test]
    fn a_program_cannot_raise_its_level() {
        let mut hostile = saved();
        hostile.registers.pstate = 0x8000_03c5;
        let bytes = build(&Info::kernel(Signal::SIGUSR1), &hostile, None);
        assert_eq!(
            parse_bytes(&whole(bytes)).unwrap().registers.pstate,
            0x8000_0000
        );
    }

    #[test]
    fn unsound_records_are_refused() {
        let good = whole(build(&Info::kernel(Signal::SIGUSR1), &saved(), None));
        for (magic, size) in [
            (0x4650_8001u32, 527u32),
            (0x1234, 16),
            (0x4553_5201, 0),
            (0, 16),
        ] {
            let mut bad = good.clone();
            bad[RECORDS..RECORDS + 4].copy_from_slice(&magic.to_le_bytes());
            bad[RECORDS + 4..RECORDS + 8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(parse_bytes(&bad), None);
        }
        let mut endless = good;
        for record in endless[RECORDS..].chunks_exact_mut(16) {
            record[..4].copy_from_slice(&ESR_MAGIC.to_le_bytes());
            record[4..8].copy_from_slice(&16u32.to_le_bytes());
        }
        assert_eq!(endless.len() - RECORDS, RECORDS_SIZE);
        assert_eq!(parse_bytes(&endless), None);
    }

    #[test]
    fn handlers_nest_on_their_stack() {
        let stack = saved().stack;
        let top = stack.base + stack.length;
        let first = place(0x7000, &stack, true);
        assert_eq!(first, top - TOTAL_SIZE as u64);
        assert_eq!(place(first, &stack, true), first - TOTAL_SIZE as u64);
        assert_eq!(place(0x7008, &stack, false), 0x7000 - TOTAL_SIZE as u64);
        assert_eq!(place(0, &AlternateStack::default(), true) % 16, 0);
    }
}
