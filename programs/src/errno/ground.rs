//! What every row finds: descriptors, memory and names with fixed places.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::{env, ptr};

use anyhow::{Context, Result, ensure};

use super::row::Slot;

/// A file of [`FILE_SIZE`] bytes, for reading and writing.
pub const FILE: i32 = 50;
/// The same for reading only.
pub const READABLE: i32 = 51;
/// The same for writing only.
pub const WRITABLE: i32 = 52;
/// The working directory.
pub const FOLDER: i32 = 53;
/// The file as a place only (`O_PATH`).
pub const PLACE: i32 = 54;
/// The end of an empty pipe that is read, without waiting.
pub const PIPE: i32 = 55;
/// The other end.
pub const PIPE_END: i32 = 56;
/// A pipe that nobody reads.
pub const BROKEN: i32 = 57;
/// `/dev/null`.
pub const NULL: i32 = 58;
/// `/dev/full`.
pub const FULL: i32 = 59;
/// No descriptor.
pub const CLOSED: i32 = 60;

/// The size of the file in bytes.
pub const FILE_SIZE: usize = 5000;

const PAGE: u64 = 4096;
const BASE: u64 = 0x10_0000_0000;
/// Sixteen pages to read and write, full of zeros. What follows is not mapped.
pub const GOOD: u64 = BASE;
/// The last eight bytes of them.
pub const EDGE: u64 = BASE + 16 * PAGE - 8;
/// A page that can only be read, full of zeros.
pub const READ_ONLY: u64 = BASE + 32 * PAGE;
/// A page that cannot be accessed.
pub const FORBIDDEN: u64 = BASE + 48 * PAGE;
/// Nothing.
pub const UNMAPPED: u64 = BASE + 64 * PAGE;
/// An address of the kernel's memory, wherever that has it.
pub const KERNEL: u64 = 0xffff_0000_4000_0000;
/// An address of nobody's: it does not fit 52 bits.
pub const NOBODYS: u64 = 0x0010_0000_0000_0000;

/// Where the names are.
const HOME: &str = "/tmp/errno-table";

/// Prepares the process, and gives the place for a child's result.
///
/// # Errors
///
/// If something cannot be made.
pub fn prepare() -> Result<&'static Slot> {
    map(GOOD, 16, libc::PROT_READ | libc::PROT_WRITE)?;
    map(READ_ONLY, 1, libc::PROT_READ)?;
    map(FORBIDDEN, 1, libc::PROT_NONE)?;
    // A Rust program begins with SIGPIPE ignored.
    // SAFETY: the default action.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    make_names().context("cannot make files in /tmp")?;
    open_descriptors().context("cannot open files")?;
    shared_slot()
}

fn map(address: u64, pages: u64, protection: i32) -> Result<()> {
    let wanted = ptr::without_provenance_mut(usize::try_from(address)?);
    // SAFETY: nothing is mapped there, and the kernel refuses if something is.
    let mapped = unsafe {
        libc::mmap(
            wanted,
            usize::try_from(pages * PAGE)?,
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    ensure!(
        mapped == wanted,
        "cannot map {address:#x}: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

/// `file`, `folder/file`, `link` to the file, `loop` to itself, `program` that is none.
fn make_names() -> Result<()> {
    if Path::new(HOME).exists() {
        fs::remove_dir_all(HOME)?;
    }
    fs::create_dir_all(HOME)?;
    env::set_current_dir(HOME)?;
    fs::write("file", vec![7; FILE_SIZE])?;
    fs::create_dir("folder")?;
    fs::write("folder/file", "")?;
    symlink("file", "link")?;
    symlink("loop", "loop")?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open("program")?;
    Ok(())
}

fn open_descriptors() -> Result<()> {
    let file = || File::open("file");
    let both = OpenOptions::new().read(true).write(true).open("file")?;
    install(both, FILE)?;
    install(file()?, READABLE)?;
    install(OpenOptions::new().write(true).open("file")?, WRITABLE)?;
    install(File::open(".")?, FOLDER)?;
    // The standard library takes `O_PATH` away: in musl it is a mode of access.
    // SAFETY: the name ends with a zero.
    let place = unsafe { libc::open(c"file".as_ptr(), libc::O_PATH) };
    ensure!(place >= 0, "cannot open a place");
    // SAFETY: the descriptor is new, so nobody else owns it.
    install(unsafe { OwnedFd::from_raw_fd(place) }, PLACE)?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: the descriptor is open.
    let set = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    ensure!(set == 0, "cannot make a pipe that does not wait");
    install(reader, PIPE)?;
    install(writer, PIPE_END)?;
    let (reader, writer) = io::pipe()?;
    drop(reader);
    install(writer, BROKEN)?;
    let device = |name| OpenOptions::new().read(true).write(true).open(name);
    install(device("/dev/null")?, NULL)?;
    install(device("/dev/full")?, FULL)?;
    Ok(())
}

/// Moves a descriptor to a number.
fn install(file: impl IntoRawFd, number: i32) -> Result<()> {
    let old = file.into_raw_fd();
    // SAFETY: the descriptor is open; nobody uses the new number.
    let result = unsafe { libc::dup2(old, number) };
    ensure!(result == number, "cannot have a descriptor {number}");
    // SAFETY: the descriptor is open, and owned here.
    let closed = unsafe { libc::close(old) };
    ensure!(closed == 0, "cannot close {old}");
    Ok(())
}

fn shared_slot() -> Result<&'static Slot> {
    // SAFETY: a new mapping, wherever there is room.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<Slot>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    ensure!(address != libc::MAP_FAILED, "cannot map memory");
    // SAFETY: the mapping is never unmapped, aligned, large enough, and its zeros are a `Slot`.
    Ok(unsafe { &*address.cast::<Slot>() })
}
