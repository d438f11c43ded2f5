//! Notes of a core file. Layouts: Linux, `include/uapi/linux/elfcore.h` and `elf.h`, for arm64.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::arch::{FpRegisters, Registers};
use crate::task::coredump::Snapshot;
use crate::task::signal::Info;

/// `NT_PRSTATUS`: a thread and its general registers.
const PRSTATUS: u32 = 1;
/// `NT_FPREGSET`: SIMD and floating-point registers.
const FPREGSET: u32 = 2;
/// `NT_PRPSINFO`: the process.
const PRPSINFO: u32 = 3;
/// `NT_AUXV`: the auxiliary vector.
const AUXV: u32 = 6;
/// `NT_ARM_TLS`: TPIDR_EL0.
const ARM_TLS: u32 = 0x401;
/// `NT_FILE`: mapped files.
const FILE: u32 = 0x4649_4c45;
/// `NT_SIGINFO`: why the process ends.
const SIGINFO: u32 = 0x5349_4749;

/// Whose notes most are, and those of one architecture.
const CORE: &[u8] = b"CORE\0";
const LINUX: &[u8] = b"LINUX\0";

/// What notes say of the process.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// `pid`, `ppid`, `pgrp`, `sid`.
    pub(super) numbers: [u32; 4],
    /// What `/proc/pid/comm` says.
    pub(super) name: Vec<u8>,
    /// The arguments, separated by blanks.
    pub(super) arguments: Vec<u8>,
    /// The auxiliary vector, as the program got it.
    pub(super) auxiliary: Vec<u8>,
    /// Files that are mapped.
    pub(super) files: Vec<MappedFile>,
}

/// A mapped file: start and end, the page of the file at the start, and its name.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) page: u64,
    pub(super) name: Vec<u8>,
}

/// Bytes that are put together.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn half(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn word(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// So many bytes: as many of `text` as fit before a zero, and zeros.
    fn text(&mut self, text: &[u8], length: usize) -> &mut Self {
        let shown = &text[..text.len().min(length - 1)];
        self.bytes(shown);
        self.0.resize(self.0.len() + length - shown.len(), 0);
        self
    }

    /// Nanoseconds as a `timeval`.
    fn time(&mut self, nanoseconds: u64) -> &mut Self {
        self.word(nanoseconds / 1_000_000_000)
            .word(nanoseconds % 1_000_000_000 / 1_000)
    }

    /// A note, aligned as its like are. System V ABI, "Note Section".
    fn note(&mut self, owner: &[u8], kind: u32, contents: &[u8]) {
        self.half(owner.len() as u32)
            .half(contents.len() as u32)
            .half(kind)
            .bytes(owner);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.bytes(contents);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// All notes. The first thread is the one that the signal hit.
pub(super) fn build(facts: &Facts, threads: &[Box<Snapshot>], info: &Info) -> Vec<u8> {
    let mut notes = Bytes::default();
    for (index, thread) in threads.iter().enumerate() {
        notes.note(CORE, PRSTATUS, &status(facts, thread, info));
        if index == 0 {
            notes.note(CORE, PRPSINFO, &process(facts));
            notes.note(CORE, SIGINFO, &info.to_bytes());
            notes.note(CORE, AUXV, &facts.auxiliary);
            if !facts.files.is_empty() {
                notes.note(CORE, FILE, &files(&facts.files));
            }
        }
        notes.note(CORE, FPREGSET, &fp_registers(&thread.fp));
        notes.note(LINUX, ARM_TLS, &thread.tls.to_le_bytes());
    }
    notes.0
}

/// `struct elf_prstatus`.
fn status(facts: &Facts, thread: &Snapshot, info: &Info) -> Vec<u8> {
    let signal = u32::from(info.signal.number());
    let [_, parent, group, session] = facts.numbers;
    let mut bytes = Bytes::default();
    // `si_signo`, `si_code`, `si_errno`, `pr_cursig` and padding.
    bytes.half(signal).half(info.code.cast_unsigned()).half(0);
    bytes.half(signal);
    bytes.word(thread.pending).word(thread.blocked);
    for number in [thread.number.0, parent, group, session] {
        bytes.half(number);
    }
    // User and system time, and those of children.
    bytes.time(thread.runtime).time(0).time(0).time(0);
    let Registers { x, sp, pc, pstate } = thread.registers;
    for value in x.into_iter().chain([sp, pc, pstate]) {
        bytes.word(value);
    }
    // `pr_fpvalid` and padding.
    bytes.half(1).half(0);
    bytes.0
}

/// `struct elf_prpsinfo`.
fn process(facts: &Facts) -> Vec<u8> {
    let mut bytes = Bytes::default();
    // `pr_state`, `pr_sname`, `pr_zomb`, `pr_nice` and padding; `pr_flag`; user and group.
    bytes.bytes(&[0, b'R', 0, 0]).half(0).word(0);
    bytes.half(0).half(0);
    for number in facts.numbers {
        bytes.half(number);
    }
    bytes.text(&facts.name, 16).text(&facts.arguments, 80);
    bytes.0
}

/// `struct user_fpsimd_state`.
fn fp_registers(registers: &FpRegisters) -> Vec<u8> {
    let mut bytes = Bytes::default();
    for value in registers.v {
        bytes.bytes(&value.to_le_bytes());
    }
    bytes.half(registers.status).half(registers.control).word(0);
    bytes.0
}

/// Their number and the unit of offsets, ranges, and then their names.
fn files(files: &[MappedFile]) -> Vec<u8> {
    let mut bytes = Bytes::default();
    bytes.word(files.len() as u64).word(mm::PAGE_SIZE as u64);
    for file in files {
        bytes.word(file.start).word(file.end).word(file.page);
    }
    for file in files {
        bytes.bytes(&file.name).bytes(b"\0");
    }
    bytes.0
}
