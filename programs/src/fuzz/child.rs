//! A child: what it finds, and its threads.

use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::{io, ptr, thread};

use anyhow::{Context, Result, ensure};

use super::grammar::{CALLS, Call};
use super::random::Random;
use super::record::{Record, THREADS};
use super::values::{ARENA, ARENA_PAGES, DESCRIPTORS, Family, Maker, STRUCTURE_PAGES, STRUCTURES};
use crate::system_call::{raw, raw_clone};

const PAGE: u64 = 4096;

/// What a child is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of the run.
    pub seed: u64,
    /// Which round it is.
    pub round: u64,
    /// Which child of the round.
    pub child: usize,
    /// How many calls each thread makes.
    pub calls: u64,
    /// Numbers from this on may be tried: below it a stock Linux has calls that are not for this.
    pub first_unknown: u64,
    /// Try nothing but this call.
    pub only: Option<i64>,
}

/// Makes the calls. The process must have been forked for this.
///
/// # Errors
///
/// If it cannot prepare.
pub fn run(plan: &Plan, record: &'static Record) -> Result<()> {
    // SAFETY: it has no arguments. A session and a group of its own: signals to them reach nobody
    // else.
    ensure!(unsafe { libc::setsid() } > 0, "cannot have a session");
    prepare_descriptors()?;
    prepare_memory()?;
    catch_signals();
    let sleeper = start_sleeper()?;
    let plan = Arc::new(plan.clone());
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let plan = Arc::clone(&plan);
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || make_calls(&plan, number, sleeper, record))
        })
        .collect::<io::Result<_>>()?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn make_calls(plan: &Plan, number: usize, sleeper: u64, record: &'static Record) {
    let path = [plan.round, plan.child as u64, number as u64];
    let family = Family {
        own: std::process::id().into(),
        sleeper,
        thread: raw(libc::SYS_gettid, [0; 6]) as u64,
    };
    let mut maker = Maker::new(Random::new(plan.seed, &path), family, number as u64);
    let log = record.log(plan.child, number);
    for _ in 0..plan.calls {
        let (call, arguments) = choose(plan, &mut maker);
        log.begin(call as u64, arguments);
        let result = match call {
            libc::SYS_clone | libc::SYS_clone3 => raw_clone(call, arguments),
            _ => raw(call, arguments),
        };
        log.end(result);
        record.count(call as u64, result);
    }
    log.finish();
}

/// The next call and its arguments.
fn choose(plan: &Plan, maker: &mut Maker) -> (i64, [u64; 6]) {
    if plan.only.is_none() && maker.random().once_in(50) {
        let number = plan.first_unknown + maker.random().below(600);
        let is_known = CALLS.iter().any(|call| call.number == number as i64);
        if !is_known && number != libc::SYS_reboot as u64 {
            return (number as i64, maker.any_arguments());
        }
    }
    let chosen = |call: &&Call| plan.only.is_none_or(|only| only == call.number);
    let total: u64 = CALLS.iter().filter(chosen).map(|call| call.weight).sum();
    let mut place = maker.random().below(total.max(1));
    for call in CALLS.iter().filter(chosen) {
        if place < call.weight {
            return (call.number, maker.arguments(call));
        }
        place -= call.weight;
    }
    (libc::SYS_getpid, [0; 6])
}

/// Closes what it has inherited, the console first of all, and opens one of each kind.
fn prepare_descriptors() -> Result<()> {
    let open = |name: &std::ffi::CStr, flags| {
        // SAFETY: the name ends with a zero.
        let descriptor = unsafe { libc::open(name.as_ptr(), flags | libc::O_NONBLOCK, 0o644) };
        ensure!(descriptor >= 0, "cannot open {name:?}");
        Ok(descriptor)
    };
    for number in 0..3 {
        let null = open(c"/dev/null", libc::O_RDWR)?;
        // SAFETY: both numbers are this process's.
        let moved = unsafe { libc::dup2(null, number) };
        ensure!(moved == number, "cannot leave the console");
    }
    // SAFETY: what is inherited is not used any more.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    ensure!(closed == 0, "cannot close what is inherited");
    const FILES: &[(&std::ffi::CStr, i32)] = &[
        (c".", libc::O_RDONLY),
        (c"d", libc::O_RDONLY),
        (c"d", libc::O_PATH),
        (c"a", libc::O_RDWR | libc::O_CREAT),
        (c"a", libc::O_RDONLY),
        (c"a", libc::O_WRONLY | libc::O_APPEND),
        (c"b", libc::O_RDWR | libc::O_CREAT),
        (c"fifo", libc::O_RDWR),
        (c"/dev/null", libc::O_RDWR),
        (c"/dev/zero", libc::O_RDWR),
        (c"/dev/full", libc::O_RDWR),
        (c"/dev/random", libc::O_RDONLY),
        (c"/proc/self/status", libc::O_RDONLY),
        (c"/proc/self/pagemap", libc::O_RDONLY),
        (c"/proc", libc::O_RDONLY),
    ];
    for (name, flags) in FILES {
        open(name, *flags)?;
    }
    for flags in [0, libc::O_NONBLOCK] {
        let mut ends = [0; 2];
        // SAFETY: there is room for two numbers.
        let made = unsafe { libc::pipe2(ends.as_mut_ptr(), flags) };
        ensure!(made == 0, "cannot make a pipe");
    }
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    drop(reader);
    let last = writer.into_raw_fd();
    ensure!(
        u64::try_from(last)? < DESCRIPTORS,
        "more descriptors than are tried"
    );
    Ok(())
}

fn prepare_memory() -> Result<()> {
    map(ARENA, ARENA_PAGES)?;
    for thread in 0..THREADS as u64 {
        map(
            STRUCTURES + 2 * thread * STRUCTURE_PAGES * PAGE,
            STRUCTURE_PAGES,
        )?;
    }
    Ok(())
}

fn map(address: u64, pages: u64) -> Result<()> {
    let wanted = ptr::without_provenance_mut(address as usize);
    // SAFETY: nothing is mapped there, and the kernel refuses if something is.
    let mapped = unsafe {
        libc::mmap(
            wanted,
            (pages * PAGE) as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    ensure!(mapped == wanted, "cannot map {address:#x}");
    Ok(())
}

/// A signal interrupts a call; it does not end the child.
fn catch_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nothing as extern "C" fn(libc::c_int);
    for signal in
        (1..32).filter(|signal| ![libc::SIGSEGV, libc::SIGBUS, libc::SIGILL].contains(signal))
    {
        // SAFETY: the handler does nothing. Two signals cannot be caught, and stay as they are.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// A process that sleeps until someone ends it.
fn start_sleeper() -> Result<u64> {
    // SAFETY: this process has one thread now; the child makes system calls only.
    let child = unsafe { libc::fork() };
    ensure!(child >= 0, "cannot fork");
    if child == 0 {
        loop {
            // SAFETY: it has no arguments.
            unsafe { libc::pause() };
        }
    }
    Ok(child.unsigned_abs().into())
}
