//! A SIGBUS that is not ours: what happens with this crate is what would happen without it.
//!
//! Every test runs in a child, because SIGBUS belongs to the whole process and most end it.
#![expect(unsafe_code, reason = "signals, and accesses that are meant to fail")]

mod common;

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use common::child::{self, End};
use common::inject;
use common::pages::{Pages, page};
use libc::{SIGBUS, c_int, c_void, siginfo_t};
use seaworthy::{Memory, Owner};

const DIED: End = End::Signal(SIGBUS);

fn install() -> Memory {
    let memory = seaworthy::install().unwrap();
    assert!(seaworthy::is_armed());
    memory
}

fn set_action(handler: usize, flags: c_int) {
    // SAFETY: all zero is a valid action.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the tests pass handlers of the right form for their flags.
    let result = unsafe { libc::sigaction(SIGBUS, &raw const action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

fn simple(handler: extern "C" fn(c_int)) -> usize {
    handler as *const () as usize
}

fn with_information(handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void)) -> usize {
    handler as *const () as usize
}

/// What a foreign access does: a plain load of a page that is not there.
#[inline(never)]
fn foreign_load(pages: &Pages) {
    // SAFETY: not safe, which is the point: the load raises SIGBUS.
    unsafe { pages.start().read_volatile() };
}

fn send() {
    // SAFETY: a valid signal.
    unsafe { libc::raise(SIGBUS) };
}

/// Still there, and still able to recover.
fn assert_recovers(memory: Memory) {
    assert!(seaworthy::is_armed());
    let pages = Pages::truncated(0, 1);
    // SAFETY: mapped.
    assert!(unsafe { memory.load(pages.start()) }.is_err());
}

/// Runs the same with and without the crate and expects the same end.
fn same_end(what: impl Fn(), expected: End) {
    let without = child::run(&what);
    let with = child::run(|| {
        install();
        what();
    });
    assert_eq!((with, without), (expected, expected), "(with, without)");
}

fn a_foreign_fault_kills() {
    // First with the handler of `std`, which every Rust program has.
    same_end(|| foreign_load(&Pages::truncated(0, 1)), DIED);
    same_end(
        || {
            // On a thread that `std` made, with a signal stack as `std` makes it.
            std::thread::spawn(|| foreign_load(&Pages::truncated(0, 1)))
                .join()
                .unwrap();
        },
        DIED,
    );
    for action in [libc::SIG_DFL, libc::SIG_IGN] {
        let end = child::run(|| {
            set_action(action, 0);
            install();
            foreign_load(&Pages::truncated(0, 1));
        });
        assert_eq!(end, DIED);
    }
}

fn a_signal_that_was_sent_does_what_it_did() {
    // The handler of `std` swallows the first and resets the action, so that the second kills.
    same_end(send, End::Returned);
    same_end(
        || {
            send();
            send();
        },
        DIED,
    );
    let after = |action| {
        child::run(|| {
            set_action(action, 0);
            let memory = install();
            send();
            assert_recovers(memory);
        })
    };
    assert_eq!(after(libc::SIG_DFL), DIED);
    assert_eq!(after(libc::SIG_IGN), End::Returned);
    // Swallowed by `std`, which cannot take our place.
    let end = child::run(|| {
        let memory = install();
        send();
        assert_recovers(memory);
    });
    assert_eq!(end, End::Returned);
}

fn the_first_owner_is_reported() {
    let owner = |action| {
        child::run(|| {
            assert_eq!(seaworthy::owner_before(), None);
            assert!(!seaworthy::is_armed());
            set_action(action, 0);
            install();
            let expected = match action {
                libc::SIG_DFL => Owner::Default,
                libc::SIG_IGN => Owner::Ignored,
                handler => Owner::Handler(handler),
            };
            assert_eq!(seaworthy::owner_before(), Some(expected));
            install();
            assert_eq!(seaworthy::owner_before(), Some(expected));
        })
    };
    assert_eq!(owner(libc::SIG_DFL), End::Returned);
    assert_eq!(owner(libc::SIG_IGN), End::Returned);
    assert_eq!(owner(simple(count)), End::Returned);
}

static CALLS: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static WAS_BLOCKED: AtomicI32 = AtomicI32::new(-1);

/// Notes how it was called, and disturbs `errno`.
extern "C" fn count(signal: c_int) {
    assert_eq!(signal, SIGBUS);
    CALLS.fetch_add(1, Ordering::Relaxed);
    WAS_BLOCKED.store(is_blocked().into(), Ordering::Relaxed);
    set_errno(77);
}

fn set_errno(value: c_int) {
    // SAFETY: takes nothing.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's `errno`.
    unsafe { *errno = value };
}

fn is_blocked() -> bool {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: nothing to set, and room for the answer.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()) };
    // SAFETY: the call initialised the set.
    unsafe { libc::sigismember(mask.as_ptr(), SIGBUS) == 1 }
}

/// As `count`; then puts a page where the fault was, so that the load is repeated with success.
extern "C" fn repair(signal: c_int, information: *mut siginfo_t, context: *mut c_void) {
    assert!(!context.is_null());
    count(signal);
    // SAFETY: the kernel's information, passed on.
    let information = unsafe { &*information };
    // SAFETY: it is that of a fault.
    let address = unsafe { information.si_addr() };
    ADDRESS.store(address.addr(), Ordering::Relaxed);
    let start = (address.addr() & !(page() - 1)) as *mut c_void;
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: replaces the page that failed.
    unsafe { libc::mmap(start, page(), libc::PROT_READ, flags, -1, 0) };
}

fn a_handler_that_was_there_gets_what_is_not_ours() {
    for (flags, blocked) in [(0, 1), (libc::SA_NODEFER, 0), (libc::SA_ONSTACK, 1)] {
        let end = child::run(|| {
            set_action(simple(count), flags);
            let memory = install();
            assert_recovers(memory);
            assert_eq!(CALLS.load(Ordering::Relaxed), 0);
            set_errno(5);
            send();
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(5));
            assert_eq!(CALLS.load(Ordering::Relaxed), 1);
            assert_eq!(WAS_BLOCKED.load(Ordering::Relaxed), blocked);
            assert!(!is_blocked());
            assert_recovers(memory);
        });
        assert_eq!(end, End::Returned);
    }
    let end = child::run(|| {
        set_action(with_information(repair), libc::SA_SIGINFO);
        let memory = install();
        let pages = Pages::truncated(0, 1);
        foreign_load(&pages);
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_eq!(ADDRESS.load(Ordering::Relaxed), pages.start().addr());
        assert_recovers(memory);
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    });
    assert_eq!(end, End::Returned);
}

fn a_handler_for_one_signal_is_called_for_one() {
    let end = child::run(|| {
        set_action(simple(count), libc::SA_RESETHAND);
        let memory = install();
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_recovers(memory);
        send();
    });
    assert_eq!(end, DIED);
}

/// What crash reporters do: note, reset, raise again.
extern "C" fn reset_and_raise(signal: c_int) {
    count(signal);
    set_action(libc::SIG_DFL, 0);
    send();
}

/// What `std` does.
extern "C" fn reset(signal: c_int) {
    count(signal);
    set_action(libc::SIG_DFL, 0);
}

fn a_handler_that_resets_the_action_does_not_remove_us() {
    for handler in [reset_and_raise, reset] {
        let end = child::run(|| {
            set_action(simple(handler), 0);
            install();
            foreign_load(&Pages::truncated(0, 1));
        });
        assert_eq!(end, DIED);
    }
    let end = child::run(|| {
        set_action(simple(reset), 0);
        let memory = install();
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_recovers(memory);
        // What it set is now what comes after us.
        send();
    });
    assert_eq!(end, DIED);
}

/// What the one that replaced us found: us.
static REPLACED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn replacer(signal: c_int, information: *mut siginfo_t, context: *mut c_void) {
    assert!(
        CALLS.fetch_add(1, Ordering::Relaxed) < 10,
        "round and round"
    );
    // SAFETY: it was installed with `SA_SIGINFO`.
    let next: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
        unsafe { std::mem::transmute(REPLACED.load(Ordering::Relaxed)) };
    next(signal, information, context);
}

fn replace() {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing to set, and room for the answer.
    unsafe { libc::sigaction(SIGBUS, ptr::null(), before.as_mut_ptr()) };
    // SAFETY: the call initialised it.
    let before = unsafe { before.assume_init() };
    REPLACED.store(before.sa_sigaction, Ordering::Relaxed);
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    set_action(with_information(replacer), flags);
}

fn one_that_calls_us_may_come_before_us() {
    let end = child::run(|| {
        set_action(libc::SIG_DFL, 0);
        let memory = install();
        replace();
        assert!(!seaworthy::is_armed());
        let pages = Pages::truncated(0, 1);
        // SAFETY: mapped.
        assert!(unsafe { memory.load(pages.start()) }.is_err());
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        foreign_load(&pages);
    });
    assert_eq!(end, DIED);
}

fn we_can_come_back_before_one_that_calls_us() {
    let recovers = || {
        let memory = install();
        replace();
        install();
        assert_recovers(memory);
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
    };
    let end = child::run(|| {
        set_action(simple(count), 0);
        recovers();
        // To the one that replaced us, from there to us, and on to what was there first.
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 2);
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 4);
    });
    assert_eq!(end, End::Returned);
    let end = child::run(|| {
        set_action(libc::SIG_DFL, 0);
        recovers();
        foreign_load(&Pages::truncated(0, 1));
    });
    assert_eq!(end, DIED);
}

fn we_can_come_back_after_one_that_does_not_call_us() {
    let end = child::run(|| {
        install();
        set_action(simple(count), 0);
        assert!(!seaworthy::is_armed());
        let memory = install();
        assert_recovers(memory);
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_recovers(memory);
    });
    assert_eq!(end, End::Returned);
}

static BAD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// A handler that meets bad memory itself.
extern "C" fn recover_inside(signal: c_int) {
    count(signal);
    let memory = seaworthy::install().unwrap();
    // SAFETY: mapped.
    assert!(unsafe { memory.load(BAD.load(Ordering::Relaxed)) }.is_err());
}

/// Two signal frames with all vector registers do not fit the 8 KiB that `std` gives a thread.
fn large_signal_stack() {
    let memory = Box::leak(vec![0_u8; 256 << 10].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: memory.len(),
    };
    // SAFETY: memory that is never given back.
    let result = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    assert_eq!(result, 0);
}

fn recovery_works_inside_of_a_handler() {
    let end = child::run(|| {
        large_signal_stack();
        set_action(simple(recover_inside), libc::SA_NODEFER);
        let memory = install();
        let pages = Pages::truncated(0, 1);
        BAD.store(pages.start(), Ordering::Relaxed);
        send();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_recovers(memory);
    });
    assert_eq!(end, End::Returned);
}

fn debug_builds_detect_a_blocked_signal() {
    if !cfg!(debug_assertions) {
        testing::skip!("this is a release build, which does not look");
    }
    let end = child::run(|| {
        let memory = install();
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: a valid set and a valid signal.
        unsafe { libc::sigaddset(set.as_mut_ptr(), SIGBUS) };
        // SAFETY: a valid set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) };
        let good = 5_u8;
        // SAFETY: a local.
        let _ = unsafe { memory.load(&raw const good) };
    });
    assert_eq!(end, End::Code(101));
}

fn a_wild_pointer_still_is_a_segmentation_fault() {
    let end = child::run(|| {
        let memory = install();
        // SAFETY: not safe, which is the point.
        let _ = unsafe { memory.load(ptr::without_provenance::<u8>(16)) };
    });
    assert_eq!(end, End::Signal(libc::SIGSEGV));
}

/// Where a traced child is when it dies, and where it was when the signal came first.
fn a_core_shows_the_true_place() {
    if inject::is_emulated() {
        testing::skip!("qemu-user has no ptrace");
    }
    for sent in [false, true] {
        let child = child::start(|| {
            set_action(libc::SIG_DFL, 0);
            install();
            // SAFETY: the parent traces.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            let pages = Pages::truncated(0, 1);
            if sent {
                send();
            }
            foreign_load(&pages);
        });
        let mut places = Vec::new();
        loop {
            let mut status = 0;
            // SAFETY: our child.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            if libc::WIFSIGNALED(status) {
                assert_eq!(libc::WTERMSIG(status), SIGBUS);
                break;
            }
            assert!(libc::WIFSTOPPED(status), "status {status:#x}");
            assert_eq!(libc::WSTOPSIG(status), SIGBUS);
            places.push(program_counter(child));
            // SAFETY: a stopped child of ours; the signal is delivered.
            unsafe { libc::ptrace(libc::PTRACE_CONT, child, 0, SIGBUS) };
        }
        // Once for us, once for the default action.
        assert_eq!(places.len(), 2, "{places:x?}");
        assert_eq!(places[0], places[1]);
    }
}

/// The program counter of a stopped child.
fn program_counter(child: libc::pid_t) -> u64 {
    // The kernel's `user_regs_struct` and `user_pt_regs`.
    const WORD: usize = if cfg!(target_arch = "x86_64") { 16 } else { 32 };
    const NT_PRSTATUS: usize = 1;
    let mut registers = [0_u64; 64];
    let mut vector = libc::iovec {
        iov_base: registers.as_mut_ptr().cast(),
        iov_len: size_of_val(&registers),
    };
    // SAFETY: a stopped child of ours, and room for its registers.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETREGSET, child, NT_PRSTATUS, &raw mut vector) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    registers[WORD]
}

testing::without_threads! {
    a_foreign_fault_kills,
    a_signal_that_was_sent_does_what_it_did,
    the_first_owner_is_reported,
    a_handler_that_was_there_gets_what_is_not_ours,
    a_handler_for_one_signal_is_called_for_one,
    a_handler_that_resets_the_action_does_not_remove_us,
    one_that_calls_us_may_come_before_us,
    we_can_come_back_before_one_that_calls_us,
    we_can_come_back_after_one_that_does_not_call_us,
    recovery_works_inside_of_a_handler,
    debug_builds_detect_a_blocked_signal,
    a_wild_pointer_still_is_a_segmentation_fault,
    a_core_shows_the_true_place,
}
