//! One round: starts children, watches them, and clears away what they leave.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};

use super::child::{self, Plan};
use super::health::Health;
use super::random::Random;
use super::record::{CHILDREN, Record};

/// The scratch folder.
const HOME: &str = "/tmp/syscall-fuzz";
/// A round whose threads make no call for so long is over: they wait for what does not come.
const STILL: Duration = Duration::from_millis(60);
/// A round is over after this.
const LIMIT: Duration = Duration::from_secs(3);
/// Time for a process that was killed to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs one round. The plan's child is each in turn.
///
/// # Errors
///
/// If something is not afterwards as it was before.
pub fn run(plan: &Plan, record: &'static Record, health: &mut Health) -> Result<()> {
    prepare_scratch(plan).context("cannot prepare the scratch folder")?;
    record.clear();
    for child in 0..CHILDREN {
        // SAFETY: this program has one thread; the child goes its own way and never returns.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "cannot fork");
        if pid == 0 {
            let plan = Plan {
                child,
                ..plan.clone()
            };
            let status = i32::from(child::run(&plan, record).is_err());
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(status) };
        }
    }
    watch(record);
    end_all(health)?;
    clear_scratch()?;
    health.check()
}

/// Waits until all threads are done, or stand still.
fn watch(record: &Record) {
    let start = Instant::now();
    let mut last = (0, start);
    while start.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(2));
        let (made, is_done) = record.progress();
        if made != last.0 {
            last = (made, Instant::now());
        }
        // The first calls take a while to come.
        let still = if made == 0 { LIMIT } else { STILL };
        if is_done || last.1.elapsed() > still {
            return;
        }
    }
}

/// Ends all processes that were not there before.
fn end_all(health: &Health) -> Result<()> {
    let start = Instant::now();
    loop {
        let strangers = health.strangers()?;
        for pid in &strangers {
            // SAFETY: only processes of this program's own are new on a machine that runs nothing
            // else. One may have ended meanwhile.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
        }
        // SAFETY: nothing is wanted but the number.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        if strangers.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let states: Vec<_> = strangers
                .iter()
                .map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
                .collect();
            bail!("processes that were killed go on: {}", states.join("; "));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Files, a folder, links, a pipe, a program and a script, the latter two with bytes changed.
fn prepare_scratch(plan: &Plan) -> Result<()> {
    clear_scratch()?;
    fs::create_dir_all(HOME)?;
    env::set_current_dir(HOME)?;
    fs::create_dir("d")?;
    fs::write("a", [7; 10_000])?;
    symlink("a", "link")?;
    symlink("loop", "loop")?;
    // SAFETY: the name ends with a zero.
    let made = unsafe { libc::mkfifo(c"fifo".as_ptr(), 0o644) };
    ensure!(made == 0, "cannot make a fifo");
    let mut random = Random::new(plan.seed, &[plan.round]);
    let mut elf = PROGRAM;
    for _ in 0..random.below(4) {
        elf[random.below(PROGRAM.len() as u64) as usize] = random.word() as u8;
    }
    let script = [
        b"#!".as_slice(),
        &[b'.'; 3][..random.below(3) as usize],
        b"/script x\n",
    ]
    .concat();
    for (name, bytes) in [("elf", elf.as_slice()), ("script", &script)] {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(name)?;
        file.write_all(bytes)?;
    }
    Ok(())
}

/// A program that ends at once: an ELF header, one segment, three instructions.
const PROGRAM: [u8; 132] = {
    const HEADER: [u16; 60] = [
        0x457f, 0x464c, 0x0102, 1, 0, 0, 0, 0, // ident
        2, 183, 1, 0, 0x78, 0x40, 0, 0, // type, machine, version, entry
        64, 0, 0, 0, 0, 0, 0, 0, // program headers, section headers
        0, 0, 64, 56, 1, 0, 0, 0, // flags, sizes
        1, 0, 5, 0, 0, 0, 0, 0, // PT_LOAD, RX, offset
        0, 0x40, 0, 0, 0, 0x40, 0, 0, // addresses
        132, 0, 0, 0, 132, 0, 0, 0, // sizes
        4096, 0, 0, 0, // alignment
    ];
    // `mov x0, #0`, `mov x8, #93`, `svc #0`.
    const CODE: [u32; 3] = [0xd280_0000, 0xd280_0ba8, 0xd400_0001];
    let mut bytes = [0; 132];
    let mut at = 0;
    while at < 60 {
        let half = HEADER[at].to_le_bytes();
        bytes[2 * at] = half[0];
        bytes[2 * at + 1] = half[1];
        at += 1;
    }
    let mut at = 0;
    while at < 12 {
        bytes[120 + at] = CODE[at / 4].to_le_bytes()[at % 4];
        at += 1;
    }
    bytes
};

/// Unmounts what was mounted in the scratch folder, and removes it.
fn clear_scratch() -> Result<()> {
    env::set_current_dir("/")?;
    loop {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let ours: Vec<_> = places.filter(|place| place.starts_with(HOME)).collect();
        if ours.is_empty() {
            break;
        }
        // The newest first. But one who was in there already can mount something below what has
        // been hidden by a later mount: that has no path until the later one is gone.
        let results = ours.iter().rev().map(|place| unmount(place));
        let (gone, stay): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        if gone.is_empty() {
            let why = stay.into_iter().collect::<Result<Vec<_>>>();
            return why.map(drop).with_context(|| mounts);
        }
    }
    if Path::new(HOME).exists() {
        fs::remove_dir_all(HOME).context("cannot clear the scratch folder")?;
    }
    Ok(())
}

fn unmount(place: &str) -> Result<()> {
    let name = std::ffi::CString::new(place)?;
    // SAFETY: the name ends with a zero.
    let result = unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) };
    ensure!(
        result == 0,
        "cannot unmount {place}: {}",
        io::Error::last_os_error()
    );
    Ok(())
}
