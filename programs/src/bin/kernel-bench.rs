//! What a kernel's paths cost: each operation many times, and the time of one.
//!
//! Under `qemu-system-aarch64 -icount shift=0,sleep=off` a nanosecond of the guest's is one
//! instruction, so these are instructions, user side included, and repeat to a thousandth.
#![expect(
    unsafe_code,
    reason = "system calls that std does not make as they are measured"
)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, io, ptr, thread};

use anyhow::{Context, Result, ensure};
use programs::output::note;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages of a measurement of faults.
const PAGES: usize = 512;
/// What this program is called with when it is what `execve` starts.
const NOTHING: &str = "--nothing";

fn main() -> Result<()> {
    if env::args().nth(1).as_deref() == Some(NOTHING) {
        return Ok(());
    }
    // For a look at one of them: a part of its name, and how many rounds.
    let wanted = env::args().nth(1).unwrap_or_default();
    let rounds = env::args().nth(2).map_or(Ok(5), |rounds| rounds.parse())?;
    let chosen = |(name, _): &&(&str, Operation)| name.contains(&wanted);
    for (name, operation) in OPERATIONS.iter().filter(chosen) {
        // The first time fills caches.
        operation()?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(operation()?);
        }
        times.sort_by(f64::total_cmp);
        note(&format!("bench {name}: {:.0}", times[times.len() / 2]));
    }
    Ok(())
}

type Operation = fn() -> Result<f64>;

/// What is measured. Each gives nanoseconds for one time.
const OPERATIONS: &[(&str, Operation)] = &[
    ("getpid", getpid),
    ("read 4 KiB", || read(4096, 200)),
    ("read 64 KiB", || read(65536, 50)),
    ("open + close", open_close),
    ("stat", stat),
    ("first read of a mapped tmpfs page", file_fault),
    ("first write to an anonymous page", minor_fault),
    ("COW fault, page copied", cow_fault),
    ("fork + exit + wait", || fork(|| {})),
    ("fork + exec + wait", fork_exec),
    ("thread create + join", thread_create),
    ("mmap + munmap", map_unmap),
    ("signal to self, handled", signal),
    ("pipe, 1 byte, same process", pipe),
    ("pipe round trip, two processes", pipe_round_trip),
    ("futex wake, nobody waits", futex_wake),
    ("futex round trip, threads", futex_round_trip),
];

fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the result is valid. The clock is there in every kernel.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Nanoseconds for one of `count` times.
fn times(count: usize, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = now();
    for _ in 0..count {
        operation()?;
    }
    Ok((now() - start) as f64 / count as f64)
}

fn check(result: impl Into<i64>) -> Result<i64> {
    let result = result.into();
    if result < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(result)
}

fn getpid() -> Result<f64> {
    times(1000, || {
        // SAFETY: it has no arguments.
        check(unsafe { libc::syscall(libc::SYS_getpid) }).map(drop)
    })
}

fn read(length: usize, count: usize) -> Result<f64> {
    const PATH: &str = "/tmp/kernel-bench";
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(PATH)
        .context("cannot make a file in /tmp")?;
    file.write_all(&vec![7; length])?;
    let mut buffer = vec![0; length];
    let time = times(count, || {
        // SAFETY: the buffer is as long as it says.
        let read = check(unsafe {
            libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), length, 0) as i64
        })?;
        ensure!(read == length as i64, "only {read} bytes were read");
        Ok(())
    });
    file.seek(SeekFrom::Start(0))?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    ensure!(all == buffer, "the bytes are wrong");
    std::fs::remove_file(PATH)?;
    time
}

fn open_close() -> Result<f64> {
    times(100, || {
        // SAFETY: the name ends with a zero.
        let file = check(unsafe { libc::open(c"/tmp".as_ptr(), libc::O_RDONLY) })?;
        // SAFETY: the descriptor was just made, and nobody has it.
        check(unsafe { libc::close(file as i32) }).map(drop)
    })
}

fn stat() -> Result<f64> {
    times(100, || {
        let mut found = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the name ends with a zero, and there is room for the answer.
        check(unsafe { libc::stat(c"/tmp".as_ptr(), found.as_mut_ptr()) }).map(drop)
    })
}

/// Loads from each page of a file that is in memory.
fn file_fault() -> Result<f64> {
    let name = c"kernel-bench".as_ptr();
    // SAFETY: the name ends with a zero.
    let file = check(unsafe { libc::memfd_create(name, libc::MFD_CLOEXEC) })? as i32;
    // SAFETY: the descriptor was just made, and nobody has it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(file) });
    for _ in 0..PAGES {
        file.write_all(&[1; PAGE])?;
    }
    let address = map_file(libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd())?;
    let mut page = 0;
    let time = times(PAGES, || {
        // SAFETY: in the mapping.
        let place = unsafe { address.add(page * PAGE) };
        // SAFETY: as above, and the file is as long.
        ensure!(unsafe { place.read_volatile() } == 1, "the bytes are wrong");
        page += 1;
        Ok(())
    });
    unmap(address)?;
    time
}

/// An anonymous mapping without huge pages.
fn map() -> Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let address = map_file(protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the mapping is this function's own. A kernel without huge pages may refuse.
    let _ = unsafe { libc::madvise(address.cast(), PAGES * PAGE, libc::MADV_NOHUGEPAGE) };
    Ok(address)
}

fn map_file(protection: i32, flags: i32, file: i32) -> Result<*mut u8> {
    // SAFETY: a new mapping, wherever there is room.
    let address = unsafe { libc::mmap(ptr::null_mut(), PAGES * PAGE, protection, flags, file, 0) };
    ensure!(address != libc::MAP_FAILED, "cannot map memory");
    Ok(address.cast())
}

fn unmap(address: *mut u8) -> Result<()> {
    // SAFETY: what `map` has mapped, and nobody uses any more.
    check(unsafe { libc::munmap(address.cast(), PAGES * PAGE) }).map(drop)
}

/// Stores to each page, and gives the time for one.
fn touch(address: *mut u8) -> Result<f64> {
    let mut page = 0;
    times(PAGES, || {
        // SAFETY: in the mapping.
        let place = unsafe { address.add(page * PAGE) };
        // SAFETY: as above, and mapped writable.
        unsafe { place.write_volatile(1) };
        page += 1;
        Ok(())
    })
}

fn minor_fault() -> Result<f64> {
    let address = map()?;
    let time = touch(address)?;
    unmap(address)?;
    Ok(time)
}

/// Forks; the child waits until the parent has copied all pages.
fn cow_fault() -> Result<f64> {
    let address = map()?;
    touch(address)?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: this program has one thread now; the child only reads and ends.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        drop(writer);
        let _ = (&reader).read(&mut [0]);
        // SAFETY: ends the process without running what belongs to the parent.
        unsafe { libc::_exit(0) };
    }
    drop(reader);
    let time = touch(address)?;
    drop(writer);
    wait(child)?;
    unmap(address)?;
    Ok(time)
}

fn wait(child: i64) -> Result<()> {
    let mut status = 0;
    // SAFETY: the result is valid.
    check(unsafe { libc::waitpid(child as libc::pid_t, &mut status, 0) })?;
    ensure!(status == 0, "a child ended with status {status:#x}");
    Ok(())
}

fn fork(in_child: impl Fn()) -> Result<f64> {
    times(20, || {
        // SAFETY: this program has one thread now; the child makes system calls only.
        let child = check(unsafe { libc::fork() })?;
        if child == 0 {
            in_child();
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        wait(child)
    })
}

fn fork_exec() -> Result<f64> {
    let program = env::args_os().next().context("this program has no name")?;
    let program = CString::new(program.into_encoded_bytes())?;
    let arguments = [program.as_ptr(), c"--nothing".as_ptr(), ptr::null()];
    fork(|| {
        // SAFETY: strings and vectors end with zeros.
        unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) };
        // SAFETY: as in `fork`.
        unsafe { libc::_exit(1) };
    })
}

fn thread_create() -> Result<f64> {
    times(20, || {
        let ended = thread::spawn(|| {}).join();
        ensure!(ended.is_ok(), "a thread failed");
        Ok(())
    })
}

fn map_unmap() -> Result<f64> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    times(100, || unmap(map_file(libc::PROT_READ, flags, -1)?))
}

fn signal() -> Result<f64> {
    extern "C" fn handler(_: i32) {}
    let handler = handler as extern "C" fn(i32) as libc::sighandler_t;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handler) };
    let process = std::process::id() as libc::pid_t;
    times(100, || {
        // SAFETY: the signal is handled.
        check(unsafe { libc::kill(process, libc::SIGUSR1) }).map(drop)
    })
}

fn pipe() -> Result<f64> {
    let (mut reader, mut writer) = io::pipe()?;
    times(500, || {
        writer.write_all(&[1])?;
        reader.read_exact(&mut [0])?;
        Ok(())
    })
}

fn pipe_round_trip() -> Result<f64> {
    const TRIPS: usize = 200;
    let (mut there, mut to_there) = io::pipe()?;
    let (mut back, mut to_back) = io::pipe()?;
    // SAFETY: this program has one thread now; the child makes system calls only.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        drop((to_there, back));
        while there.read_exact(&mut [0]).is_ok() {
            let _ = to_back.write_all(&[1]);
        }
        // SAFETY: as in `fork`.
        unsafe { libc::_exit(0) };
    }
    drop((there, to_back));
    let time = times(TRIPS, || {
        to_there.write_all(&[1])?;
        back.read_exact(&mut [0])?;
        Ok(())
    });
    drop(to_there);
    wait(child)?;
    time
}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) -> i64 {
    // SAFETY: the word lives as long as the call; there is no time limit.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            ptr::null::<libc::timespec>(),
        )
    }
}

fn futex_wake() -> Result<f64> {
    let word = AtomicU32::new(0);
    times(500, || check(futex(&word, libc::FUTEX_WAKE, 1)).map(drop))
}

/// Two threads that hand a turn to and fro.
fn futex_round_trip() -> Result<f64> {
    const TRIPS: u32 = 200;
    static TURN: AtomicU32 = AtomicU32::new(0);
    fn pass(from: u32, to: u32) {
        while TURN.load(Ordering::SeqCst) != from {
            futex(&TURN, libc::FUTEX_WAIT, to);
        }
        TURN.store(to, Ordering::SeqCst);
        futex(&TURN, libc::FUTEX_WAKE, 1);
    }
    TURN.store(0, Ordering::SeqCst);
    let other = thread::spawn(|| (0..TRIPS).for_each(|_| pass(1, 0)));
    let time = times(TRIPS as usize, || {
        pass(0, 1);
        Ok(())
    });
    ensure!(other.join().is_ok(), "the other thread failed");
    time
}
