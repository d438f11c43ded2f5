//! What the tests of failing memory share: pages that fail on demand, and a signal handler that
//! applies fixups and remembers which entries fired.
//!
//! A page fails because it is mapped beyond the end of a file: the kernel answers with SIGBUS,
//! which stands for a memory error here as it does in a process. A page without any permission
//! answers with SIGSEGV, which is a fault.
#![expect(dead_code, reason = "each test program uses a part")]
#![expect(
    unreachable_pub,
    reason = "a module of a test program has no other crate to reach"
)]

pub mod code;
mod context;
pub mod grid;
pub mod pages;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use copy::extable::{self, Abort, Access, Cause, Entry, Kind, Registers, Table};
use copy::{Features, Routines};

use context::Context;

/// Base-2 logarithm of the page size in these tests; what the host's is does not matter, since
/// no page of it is smaller.
pub const LOG2_PAGE: u8 = 12;
pub const PAGE: usize = 1 << LOG2_PAGE;

/// The variants that this CPU can run.
pub fn runnable() -> impl Iterator<Item = &'static Routines> {
    let features = Features::detect();
    Routines::all()
        .iter()
        .filter(move |routines| features.contains(routines.requires()))
}

/// Those of them whose routine of this name no earlier one has: several may share one.
pub fn distinct(name: &str) -> Vec<&'static Routines> {
    let address = |variant: &Routines| variant.code().find(|&(known, _)| known == name).unwrap().1;
    let mut seen = HashSet::new();
    runnable()
        .filter(|variant| seen.insert(address(variant)))
        .collect()
}

/// The table of this program, sorted in a copy.
pub fn table() -> &'static Table<'static> {
    static TABLE: OnceLock<Table<'static>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let linked = copy::entries().unwrap();
        let copy: Vec<Entry> = linked
            .iter()
            .map(|entry| Entry::from_bytes(entry.to_bytes()))
            .collect();
        let copy = copy.leak();
        extable::sort(copy).unwrap();
        let bias = linked
            .as_ptr()
            .addr()
            .wrapping_sub(copy.as_ptr().addr())
            .cast_signed();
        Table::moved(copy, bias).unwrap()
    })
}

/// Signals seen since [`Session::begin`], and the instructions at which they struck.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static FIRED: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// What the handler does to memory at the first signal, see [`Session::at_first_signal`].
static SPOIL: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static SPOIL_ARMED: AtomicBool = AtomicBool::new(false);

static DIRECTION_HIDDEN: AtomicBool = AtomicBool::new(false);

static FAULTS_ARE_MEMORY_ERRORS: AtomicBool = AtomicBool::new(false);

static ADDRESS_TOLD: AtomicBool = AtomicBool::new(false);

/// Bounds of the memory in which a failing access must have been a write, where the frame does
/// not tell.
static WRITTEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Exclusive use of the handler's records; tests of one program run on several threads.
pub struct Session(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Session {
    /// Installs the handler if it is not, and waits for other tests.
    pub fn start() -> Self {
        static LOCK: Mutex<()> = Mutex::new(());
        static INSTALLED: OnceLock<()> = OnceLock::new();
        let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        table();
        INSTALLED.get_or_init(install);
        Self(guard)
    }

    /// Forgets earlier signals.
    pub fn begin(&self) {
        SIGNALS.store(0, Relaxed);
        SPOIL_ARMED.store(false, Relaxed);
    }

    /// Makes `pages` pages from `address` on fail too, when the next signal strikes.
    pub fn at_first_signal(&self, address: usize, pages: usize) {
        SPOIL[0].store(address, Relaxed);
        SPOIL[1].store(pages, Relaxed);
        SPOIL_ARMED.store(true, Relaxed);
    }

    /// Tells the handler which memory is only written, for frames without a syndrome (qemu-user).
    pub fn writes_go_to(&self, memory: std::ops::Range<usize>) {
        WRITTEN[0].store(memory.start, Relaxed);
        WRITTEN[1].store(memory.end, Relaxed);
    }

    /// Makes the handler forget whether an access was a write, until told otherwise.
    pub fn hide_direction(&self, hide: bool) {
        DIRECTION_HIDDEN.store(hide, Relaxed);
    }

    /// Makes the handler trust the address of a signal, as an abort handler trusts FAR. Off at
    /// first, because the signal for poison has only the address of a page.
    pub fn tell_address(&self, tell: bool) {
        ADDRESS_TOLD.store(tell, Relaxed);
    }

    /// Makes the handler take faults for memory errors: they can strike stores alone.
    pub fn faults_are_memory_errors(&self, are: bool) {
        FAULTS_ARE_MEMORY_ERRORS.store(are, Relaxed);
    }

    /// How many signals struck since [`begin`](Self::begin).
    pub fn signals(&self) -> usize {
        SIGNALS.load(Relaxed)
    }

    /// The instructions at which they struck.
    pub fn fired(&self) -> impl Iterator<Item = usize> {
        let count = self.signals().min(FIRED.len());
        FIRED[..count]
            .iter()
            .map(|instruction| instruction.load(Relaxed))
    }
}

fn install() {
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        // SAFETY: an all-zero `sigaction` is valid; the handler has the type SA_SIGINFO asks for.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: `action` is initialised, and the old action is not asked for.
        let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
    }
}

/// Applies the fixup; without one, lets the signal kill as it would have without us.
extern "C" fn handler(signal: i32, info: *const libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands the handler a pointer to the interrupted context.
    let mut context = unsafe { Context::new(context) };
    let count = SIGNALS.fetch_add(1, Relaxed);
    let pc = context.program_counter();
    if let Some(slot) = FIRED.get(count) {
        slot.store(pc, Relaxed);
    }
    if SPOIL_ARMED.swap(false, Relaxed) {
        pages::spoil(SPOIL[0].load(Relaxed), SPOIL[1].load(Relaxed));
    }
    let cause = if signal == libc::SIGBUS || FAULTS_ARE_MEMORY_ERRORS.load(Relaxed) {
        Cause::MemoryError
    } else {
        Cause::Fault
    };
    // SAFETY: the kernel hands the handler a pointer to what it says of the signal.
    let info = unsafe { &*info };
    // SAFETY: both signals that the handler is for have an address.
    let address = unsafe { info.si_addr() }.addr();
    // A CPU names no byte before the access; qemu-user, which rounds it to what it loads, may.
    let address = address.max(first_byte(pc, &context));
    let written = WRITTEN[0].load(Relaxed)..WRITTEN[1].load(Relaxed);
    let write = context.write().unwrap_or(written.contains(&address));
    let abort = Abort {
        write: (!DIRECTION_HIDDEN.load(Relaxed)).then_some(write),
        address: ADDRESS_TOLD.load(Relaxed).then_some(address),
        ..Abort::new(cause, LOG2_PAGE)
    };
    match table().find(pc, &abort) {
        Some(fixup) => fixup.apply(&abort, &mut context),
        None => {
            // SAFETY: the default action is always valid; the access then repeats and kills.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Where the access at `pc` begins; 0 if its entry does not say.
fn first_byte(pc: usize, context: &Context<'_>) -> usize {
    match table().covering(pc).and_then(|entry| entry.access()) {
        Some(Access::Single {
            base: Some(base),
            offset,
            ..
        }) => context
            .general(base)
            .wrapping_add_signed(isize::from(offset)),
        _ => 0,
    }
}

/// The kind that a routine's loads and stores should have, and that of one instruction that
/// does both.
pub fn kinds(routine: &str) -> (Kind, Kind, Kind) {
    let (user, kernel) = (Kind::USER_ACCESS, Kind::KERNEL_ACCESS);
    match routine {
        "copy_from_user" => (user, kernel, Kind::USER_COPY),
        "copy_to_user" => (kernel, user, Kind::USER_COPY),
        "clear_user" => (user, user, user),
        _ => (kernel, kernel, kernel),
    }
}
