//! Where running machines are found: a directory for each, named like the machine, in
//! `$XDG_RUNTIME_DIR/seaworthy` or `/tmp/seaworthy-UID`.
//!
//! A machine's owner holds a lock on its `machine.json`. The kernel drops the lock with the process,
//! so a directory whose lock is free is stale, and whoever comes across it removes it.

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

const RECORD: &str = "machine.json";
const RAM: &str = "ram";

/// What a machine says of itself to other processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) name: String,
    /// QEMU's process.
    pub(crate) pid: u32,
    /// The file that is its RAM.
    pub(crate) ram: PathBuf,
    /// Bytes of it.
    pub(crate) memory: u64,
    /// CPUs that the guest sees.
    pub(crate) guest_cpus: usize,
    /// Whether it has a monitor.
    pub(crate) monitor: bool,
    /// When it was started, in seconds since 1970.
    pub(crate) started: u64,
}

/// The directory of a machine that this process owns; removed, with the RAM, when dropped.
pub(super) struct Directory {
    path: PathBuf,
    /// Locked as long as this is open.
    record: File,
}

impl Directory {
    /// Makes the directory of a new machine.
    ///
    /// # Errors
    ///
    /// If the name is no good or taken by a machine that runs.
    pub(super) fn create(name: &str) -> Result<Self> {
        Self::create_in(&base()?, name)
    }

    fn create_in(base: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let _turn = turn(base)?;
        let path = base.join(name);
        if let Some(record) = look_at(&path)? {
            bail!(
                "a machine named {name} runs already (QEMU's process {}); choose another name or \
                 end that one",
                record.map_or_else(|| "is starting".to_owned(), |record| record.pid.to_string())
            );
        }
        let make = || -> io::Result<File> {
            private().create(&path)?;
            let record = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path.join(RECORD))?;
            record.lock()?;
            Ok(record)
        };
        let record = make().with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, record })
    }

    /// A file of the machine.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the file that is the machine's RAM, all zero, in memory if there is room.
    ///
    /// # Errors
    ///
    /// If there is no room for it anywhere.
    pub(super) fn make_ram(&self, size: u64) -> Result<PathBuf> {
        let link = self.file(RAM);
        // The runtime directory is often a small tmpfs, and /tmp often a disk.
        let shared_memory = Path::new("/dev/shm");
        let path = match room(shared_memory) {
            Ok(room) if room >= size => {
                let name = self.path.to_string_lossy().replace('/', "-");
                let path = shared_memory.join(name.trim_start_matches('-'));
                // What is left of a machine whose directory somebody removed by hand.
                let _ = fs::remove_file(&path);
                symlink(&path, &link).context("cannot link to the guest's RAM")?;
                path
            }
            elsewhere => {
                let here = room(&self.path).context("cannot ask for free space")?;
                if here < size {
                    bail!(
                        "no room for {} MiB of guest RAM: {} MiB are free in /dev/shm and {} MiB \
                         in {}; free some, or give the guest less",
                        size >> 20,
                        elsewhere.unwrap_or(0) >> 20,
                        here >> 20,
                        self.path.display()
                    );
                }
                link
            }
        };
        let make = || -> io::Result<()> {
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?
                .set_len(size)
        };
        make().with_context(|| format!("cannot make the guest's RAM, {}", path.display()))?;
        Ok(path)
    }

    /// Lets other processes find the machine.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn publish(&mut self, record: &Record) -> Result<()> {
        let text = serde_json::to_string(record).context("cannot describe the machine")?;
        // In place, because the lock is on this very file.
        self.record
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {RECORD} in {}", self.path.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed now is stale, and the next machine removes it.
        let _ = remove(&self.path);
    }
}

/// The machines of this user that run, by name.
///
/// # Errors
///
/// If their directory cannot be read.
pub(crate) fn machines() -> Result<Vec<Record>> {
    machines_in(&base()?)
}

fn machines_in(base: &Path) -> Result<Vec<Record>> {
    let _turn = turn(base)?;
    let entries = fs::read_dir(base).with_context(|| format!("cannot read {}", base.display()))?;
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir()
            && let Some(Some(record)) = look_at(&path)?
        {
            records.push(record);
        }
    }
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

/// Removes a machine's directory and its RAM.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if let Ok(ram) = fs::read_link(path.join(RAM)) {
        let _ = fs::remove_file(ram);
    }
    fs::remove_dir_all(path)
}

/// What is there: nothing (any more, if it was stale), a machine that starts, or one that runs.
fn look_at(path: &Path) -> Result<Option<Option<Record>>> {
    let mut file = match File::open(path.join(RECORD)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at {}", path.display()));
        }
    };
    match file.as_mut().map(|file| (file.try_lock(), file)) {
        Some((Err(TryLockError::WouldBlock), file)) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(Some(serde_json::from_str(&text).ok()))
        }
        Some((Err(TryLockError::Error(error)), _)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
        _ if path.exists() => {
            remove(path).with_context(|| format!("cannot remove {}", path.display()))?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Makes and removes directories one process at a time: between a directory and its lock, it looks
/// stale.
fn turn(base: &Path) -> Result<File> {
    let open = || -> io::Result<File> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(base.join(".lock"))?;
        file.lock()?;
        Ok(file)
    };
    open().with_context(|| format!("cannot lock {}", base.display()))
}

/// Where the directories of all machines of this user are.
fn base() -> Result<PathBuf> {
    let uid = Uid::effective();
    let base = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .map_or_else(
            || PathBuf::from(format!("/tmp/seaworthy-{uid}")),
            |folder| folder.join("seaworthy"),
        );
    match private().create(&base) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", base.display()));
        }
        _ => {}
    }
    // In /tmp, anybody may have been first.
    let found = fs::symlink_metadata(&base)?;
    if !found.is_dir() || found.uid() != uid.as_raw() || found.permissions().mode() & 0o077 != 0 {
        bail!(
            "{} is not a directory that belongs to you alone; remove it and try again",
            base.display()
        );
    }
    Ok(base)
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn check_name(name: &str) -> Result<()> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let begins_well = name.bytes().next().is_some_and(|byte| byte != b'.');
    if !begins_well || name.len() > 32 || !name.bytes().all(is_good) {
        bail!(
            "{name:?} cannot be a machine's name: take 1 to 32 letters, digits, `-`, `_` and `.`, \
             not beginning with `.`"
        );
    }
    Ok(())
}

/// Bytes that are free for this user where `path` is.
fn room(path: &Path) -> nix::Result<u64> {
    let found = statvfs(path)?;
    Ok(found.blocks_available() * found.fragment_size())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A base of its own for a test, removed at its end.
    struct Base(PathBuf);

    impl Base {
        fn new(name: &str) -> Self {
            let path =
                env::temp_dir().join(format!("seaworthy-base-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Base {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn record(name: &str) -> Record {
        Record {
            name: name.to_owned(),
            pid: 1,
            ram: PathBuf::from("/ram"),
            memory: 1 << 20,
            guest_cpus: 1,
            monitor: true,
            started: now(),
        }
    }

    #[test]
    fn a_machine_is_found_while_it_runs_and_its_name_is_taken() {
        let base = Base::new("found");
        let mut directory = Directory::create_in(&base.0, "a").unwrap();
        assert_eq!(machines_in(&base.0).unwrap(), []);
        directory.publish(&record("a")).unwrap();
        assert_eq!(machines_in(&base.0).unwrap(), [record("a")]);
        let error = Directory::create_in(&base.0, "a").err().unwrap();
        assert!(error.to_string().contains("runs already"), "{error}");
        let ram = directory.make_ram(1 << 20).unwrap();
        assert_eq!(fs::metadata(&ram).unwrap().len(), 1 << 20);
        drop(directory);
        assert!(!ram.exists());
        assert_eq!(machines_in(&base.0).unwrap(), []);
    }

    #[test]
    fn what_a_dead_owner_left_is_removed() {
        let base = Base::new("stale");
        let folder = base.0.join("dead");
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join(RECORD),
            serde_json::to_string(&record("dead")).unwrap(),
        )
        .unwrap();
        let ram = base.0.join("its-ram");
        fs::write(&ram, "x").unwrap();
        symlink(&ram, folder.join(RAM)).unwrap();
        assert_eq!(machines_in(&base.0).unwrap(), []);
        assert!(!folder.exists() && !ram.exists());
        drop(Directory::create_in(&base.0, "dead").unwrap());
    }

    #[test]
    fn ram_that_fits_nowhere_is_refused_with_what_is_free() {
        let base = Base::new("room");
        let directory = Directory::create_in(&base.0, "a").unwrap();
        let error = directory.make_ram(1 << 60).unwrap_err().to_string();
        assert!(
            error.contains("no room") && error.contains("/dev/shm"),
            "{error}"
        );
    }

    #[test]
    fn a_name_is_no_path() {
        for name in ["", ".", "..", "a/b", "a b", &"a".repeat(33)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("linux-6.12_a").unwrap();
    }
}
