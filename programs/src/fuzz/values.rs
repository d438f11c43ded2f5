//! Nasty values of each kind. Nothing here can reach beyond the fuzzer's own children, the scratch
//! folder and devices without a memory.

use super::grammar::{Call, Kind};
use super::random::Random;

const PAGE: u64 = 4096;
/// Memory that calls may do anything to, in all children at the same place.
pub const ARENA: u64 = 0x10_0000_0000;
/// Its pages. What follows is not mapped.
pub const ARENA_PAGES: u64 = 64;
/// Where threads build structures, each in pages of its own.
pub const STRUCTURES: u64 = 0x11_0000_0000;
/// Pages of one thread.
pub const STRUCTURE_PAGES: u64 = 16;
/// Descriptors that a child prepares are below this.
pub const DESCRIPTORS: u64 = 24;

/// Bytes of a structure.
const STRUCTURE: u64 = 1024;
/// No process has this number.
const NOBODY: u64 = 0x7fff_0000;

const NAMES: &[&[u8]] = &[
    b"a\0",
    b"b\0",
    b"d\0",
    b"d/a\0",
    b"d/b\0",
    b"link\0",
    b"loop\0",
    b"fifo\0",
    b"elf\0",
    b"script\0",
    b"\0",
    b".\0",
    b"a/\0",
    b"d/\0",
    b"none/a\0",
    b"\xff\xfe\0",
    b"tmpfs\0",
    b"proc\0",
];
/// What is only opened: nobody may unlink these. This program is not among them: our kernel lets a
/// program be truncated that runs.
const DEVICES: &[&[u8]] = &[
    b"/dev/null\0",
    b"/dev/zero\0",
    b"/dev/full\0",
    b"/dev/random\0",
    b"/proc\0",
    b"/proc/self/stat\0",
    b"/proc/self/status\0",
    b"/proc/self/maps\0",
    b"/proc/self/pagemap\0",
    b"/proc/self/fd\0",
    b"/proc/self/fd/3\0",
    b"/proc/meminfo\0",
    b"/proc/mounts\0",
    b"/sys\0",
];
const LENGTHS: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    9,
    16,
    24,
    64,
    88,
    100,
    128,
    511,
    4095,
    4096,
    4097,
    8192,
    12288,
    65536,
    1 << 20,
    1 << 21,
];
const ABSURD: &[u64] = &[
    1 << 40,
    1 << 47,
    1 << 48,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
    u64::MAX - 4095,
    0xffff_ffff,
    0x8000_0000,
    0x7fff_ffff,
];
const WILD: &[u64] = &[
    0,
    1,
    0xfff,
    ARENA - 1,
    ARENA + ARENA_PAGES * PAGE,
    ARENA + ARENA_PAGES * PAGE - 1,
    0x12_0000_0000,
    (1 << 48) - 4096,
    1 << 48,
    1 << 55,
    0xffff_0000_0000_0000,
    0xffff_0000_4000_0000,
    0xffff_8000_8000_0000,
    u64::MAX - 7,
    u64::MAX,
];
const REQUESTS: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    15,
    16,
    33,
    34,
    0x100,
    0x200,
    0x400,
    0x1000,
    0x2000,
    1030,
    0x5401,
    0x5402,
    0x5410,
    0x5413,
    0x541b,
    0x5421,
    0x5450,
    0x5451,
    0x8004_5430,
];
/// All advice but that memory shall fail (100, 101).
const ADVICE: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    99,
    u64::MAX,
];
/// What reads the log, and what nobody knows.
const LOG_ACTIONS: &[u64] = &[0, 1, 3, 9, 10, 11, u64::MAX];

/// Processes of a child: itself and one that sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The child's own process.
    pub own: u64,
    /// Its sleeping child.
    pub sleeper: u64,
    /// The thread that makes the call.
    pub thread: u64,
}

/// Makes the arguments of one thread's calls.
#[derive(Debug)]
pub struct Maker {
    random: Random,
    family: Family,
    /// Where this thread builds structures.
    structures: u64,
}

impl Maker {
    /// For the thread with this number in its child.
    #[must_use]
    pub fn new(random: Random, family: Family, thread: u64) -> Self {
        Self {
            random,
            family,
            structures: STRUCTURES + 2 * thread * STRUCTURE_PAGES * PAGE,
        }
    }

    /// The generator, for decisions other than about arguments.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Arguments for a call.
    pub fn arguments(&mut self, call: &Call) -> [u64; 6] {
        let mut arguments = [0; 6];
        for (index, argument) in arguments.iter_mut().enumerate() {
            *argument = match call.arguments.get(index) {
                Some(Kind::Request) if call.number == libc::SYS_syslog => {
                    self.random.of(LOG_ACTIONS)
                }
                Some(Kind::Name) if opens(call) && self.random.once_in(3) => {
                    self.name(DEVICES, index)
                }
                Some(kind) => self.value(*kind, index),
                None => self.any_word(),
            };
        }
        spare_memory(call.number, &mut arguments);
        arguments
    }

    /// Arguments for a call that nobody knows.
    pub fn any_arguments(&mut self) -> [u64; 6] {
        [(); 6].map(|()| self.any_word())
    }

    fn value(&mut self, kind: Kind, index: usize) -> u64 {
        // What names processes is never left to chance.
        match kind {
            Kind::Process => return self.process(),
            Kind::Thread => {
                return self.random.of(&[
                    self.family.thread,
                    self.family.own,
                    self.family.sleeper,
                    NOBODY,
                    0,
                ]);
            }
            Kind::Group => {
                return self.random.of(&[
                    0,
                    self.family.own,
                    self.family.sleeper,
                    NOBODY,
                    u64::MAX,
                ]);
            }
            Kind::Own => return 0,
            Kind::Advice => return self.random.of(ADVICE),
            Kind::Small => return self.small(),
            Kind::Mode => return self.mode(),
            _ => {}
        }
        if self.random.once_in(16) {
            return self.any_word();
        }
        match kind {
            Kind::Address => self.address(),
            Kind::Buffer => {
                let address = self.address();
                address.wrapping_add(self.random.of(&[0, 0, 1, 7, 4000, 4088, 4095]))
            }
            Kind::Length => self.length(),
            Kind::Offset => self.length(),
            Kind::Clock => self.random.of(&[0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 100]),
            Kind::CloneFlags => self.clone_flags(),
            Kind::Descriptor => self.descriptor(),
            Kind::Folder => self.random.of(&[
                libc::AT_FDCWD as u64,
                libc::AT_FDCWD as u64,
                3,
                4,
                5,
                9,
                u64::MAX,
            ]),
            Kind::Futex => {
                self.random.of(&[0, 1, 3, 4, 5, 6, 9, 10, 11, 12, 13])
                    | self.random.of(&[0, 128, 256, 384])
            }
            Kind::Limit => self.random.below(17),
            Kind::Map => self.map_flags(),
            Kind::Name => self.name(NAMES, index),
            Kind::Nice => self.random.below(60).wrapping_sub(30),
            Kind::Open => self.open_flags(),
            Kind::Protect => {
                self.random.below(8)
                    | if self.random.once_in(16) {
                        self.random.word()
                    } else {
                        0
                    }
            }
            Kind::Request => self.random.of(REQUESTS),
            Kind::Set => {
                let words = [self.random.word() & self.random.word(); 2];
                self.structure(index, &words)
            }
            Kind::SetSize => self.random.of(&[8, 8, 8, 8, 0, 7, 16, u64::MAX]),
            Kind::Signal => self.random.below(66),
            Kind::Time => self.time(index),
            Kind::Vector => self.vector(index),
            Kind::Strings => self.strings(index),
            Kind::Wait => self.random.of(&[1, 1, 1, 3, 5, 9, 15, 0x0100_0005]),
            _ => self.pointer(index),
        }
    }

    fn any_word(&mut self) -> u64 {
        match self.random.below(5) {
            0 => self.random.of(WILD),
            1 => self.random.of(ABSURD),
            2 => self.random.word(),
            3 => self.random.below(64),
            _ => self.address(),
        }
    }

    fn address(&mut self) -> u64 {
        if self.random.once_in(8) {
            return self.random.of(WILD);
        }
        ARENA + self.random.below(ARENA_PAGES) * PAGE
    }

    fn length(&mut self) -> u64 {
        if self.random.once_in(12) {
            self.random.of(ABSURD)
        } else {
            self.random.of(LENGTHS)
        }
    }

    /// A number that cannot be a device with a meaning, nor -1 as a process.
    fn small(&mut self) -> u64 {
        if self.random.once_in(10) {
            self.random
                .of(&[0xffff_ffff, i32::MAX as u64, 0x8000_0000, u64::MAX])
        } else {
            self.random.below(70)
        }
    }

    fn mode(&mut self) -> u64 {
        let kind = self.random.of(&[
            0, 0, 0o010_000, 0o040_000, 0o100_000, 0o120_000, 0o140_000, 0o170_000,
        ]);
        kind | self.random.of(&[0, 0o600, 0o644, 0o755, 0o7777])
    }

    fn process(&mut self) -> u64 {
        let own_group = (self.family.own as i64).wrapping_neg() as u64;
        self.random.of(&[
            0,
            self.family.own,
            self.family.sleeper,
            self.family.thread,
            own_group,
            NOBODY,
            i64::from(i32::MIN) as u64,
        ])
    }

    fn descriptor(&mut self) -> u64 {
        if self.random.once_in(12) {
            self.random.of(&[u64::MAX, 1000, 1 << 20, i32::MAX as u64])
        } else {
            3 + self.random.below(DESCRIPTORS - 3)
        }
    }

    fn open_flags(&mut self) -> u64 {
        const FLAGS: &[u64] = &[
            1,
            2,
            0o100,
            0o200,
            0o400,
            0o1000,
            0o2000,
            0o4000,
            0o40_000,
            0o100_000,
            0o200_000,
            0o2_000_000,
            0o10_000_000,
            0o20_200_000,
        ];
        // Without waiting, mostly: a pipe's other end does not come.
        let mut flags = if self.random.once_in(8) { 0 } else { 0o4000 };
        for _ in 0..self.random.below(4) {
            flags |= self.random.of(FLAGS);
        }
        flags
    }

    fn map_flags(&mut self) -> u64 {
        const FLAGS: &[u64] = &[
            0x10, 0x20, 0x20, 0x20, 0x100, 0x2000, 0x4000, 0x8000, 0x2_0000, 0x4_0000, 0x10_0000,
        ];
        let mut flags = self.random.of(&[1, 2, 2, 3]);
        for _ in 0..self.random.below(5) {
            flags |= self.random.of(FLAGS);
        }
        flags
    }

    fn clone_flags(&mut self) -> u64 {
        const FLAGS: &[u64] = &[
            0x100, 0x200, 0x400, 0x800, 0x4000, 0x8000, 0x1_0000, 0x4_0000, 0x8_0000, 0x10_0000,
            0x20_0000, 0x100_0000,
        ];
        let mut flags = self.random.of(&[0, 17, 64, 255]);
        // What a thread library asks for.
        if self.random.once_in(4) {
            flags = 0x3d_0f00;
        }
        for _ in 0..self.random.below(4) {
            flags |= self.random.of(FLAGS);
        }
        flags
    }

    /// Writes words where this thread builds the structure of its argument.
    fn structure(&mut self, index: usize, words: &[u64]) -> u64 {
        let place = self.structures + index as u64 * STRUCTURE;
        for (offset, word) in (0_u64..).step_by(8).zip(words) {
            let target = std::ptr::with_exposed_provenance_mut::<u64>((place + offset) as usize);
            // SAFETY: in the pages of this thread, which `child` has mapped; a call may have taken
            // them away again, and then this child dies.
            unsafe { target.write_volatile(*word) };
        }
        place
    }

    /// A structure of anything.
    fn pointer(&mut self, index: usize) -> u64 {
        let mut words = [0; 16];
        for word in &mut words {
            *word = match self.random.below(6) {
                0 => self.any_word(),
                1 => self.length(),
                2 => self.address(),
                3 => self.random.below(8),
                4 => self.descriptor() | self.random.below(64) << 32,
                _ => 0,
            };
        }
        // Not always aligned.
        self.structure(index, &words) + self.random.of(&[0, 0, 0, 0, 0, 0, 1, 4])
    }

    fn time(&mut self, index: usize) -> u64 {
        let nanoseconds = self.random.below(2_000_000);
        let nasty = self.random.of(ABSURD);
        let words = match self.random.below(12) {
            0 => [nasty, 0],
            1 => [0, nasty],
            2 => [0, 0],
            _ => [0, nanoseconds],
        };
        self.structure(index, &words)
    }

    fn vector(&mut self, index: usize) -> u64 {
        let mut words = [0; 32];
        for part in words.chunks_exact_mut(2) {
            part[0] = self.address();
            part[1] = if self.random.once_in(16) {
                self.length()
            } else {
                self.random.below(5000)
            };
        }
        self.structure(index, &words)
    }

    fn strings(&mut self, index: usize) -> u64 {
        let mut words = [0; 8];
        let count = self.random.below(8) as usize;
        for word in &mut words[..count] {
            *word = if self.random.once_in(8) {
                self.any_word()
            } else {
                NAMES[0].as_ptr().addr() as u64
            };
        }
        self.structure(index, &words)
    }

    fn name(&mut self, names: &'static [&'static [u8]], index: usize) -> u64 {
        match self.random.below(16) {
            0 => {
                // A name that is too long.
                self.structure(index, &[0x6161_6161_6161_6161; 100])
            }
            1 => self.random.of(WILD),
            _ => self.random.of(names).as_ptr().addr() as u64,
        }
    }
}

/// Makes harmless what would use up all memory: whoever needs a page then is killed, and that may
/// be this program. So there are no mappings of gigabytes that could be populated; the greatest
/// cannot be anywhere.
fn spare_memory(call: i64, arguments: &mut [u64; 6]) {
    let lengths: &[usize] = match call {
        libc::SYS_mmap => &[1],
        libc::SYS_mremap => &[1, 2],
        libc::SYS_mlockall => {
            arguments[0] &= !(libc::MCL_FUTURE as u64);
            return;
        }
        _ => return,
    };
    for index in lengths {
        if arguments[*index] < 1 << 48 {
            arguments[*index] &= (4 << 20) - 1;
        }
    }
}

/// Whether a call does no more to a name than to open it, or to look at it.
fn opens(call: &Call) -> bool {
    const LOOKS: &[i64] = &[
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_faccessat,
        libc::SYS_readlinkat,
        libc::SYS_statfs,
    ];
    LOOKS.contains(&call.number)
}
