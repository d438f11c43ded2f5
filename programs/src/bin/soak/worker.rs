//! What one process does, at random, and what must come of it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use programs::fuzz::random::Random;
use programs::inject::Injector;
use programs::page::SIZE;

use crate::arena::{self, Arena, LINE};
use crate::counts::{Count, Counts};
use crate::store::{self, Store};

/// Pages of the arena with contents of their own; those behind are windows and buffers.
const DATA: usize = 48;
const WINDOW: usize = DATA;
const BUFFER: usize = DATA + 1;
const _: () = assert!(BUFFER < arena::PAGES);

/// A process that works.
pub(crate) struct Worker<'a> {
    random: Random,
    arena: Arena,
    /// What each page of data is filled with.
    fills: [u64; DATA],
    next_fill: u64,
    stores: Vec<Store>,
    pipe: (PipeReader, PipeWriter),
    injector: &'a Injector,
    /// Who makes memory fail holds it: there is one injector for all.
    turn: File,
    counts: &'a Counts,
}

impl<'a> Worker<'a> {
    /// One that has done nothing yet.
    ///
    /// # Errors
    ///
    /// If the system lacks something.
    pub(crate) fn new(
        seed: u64,
        number: u64,
        disk: Option<&Path>,
        injector: &'a Injector,
        counts: &'a Counts,
    ) -> Result<Self> {
        let memory = Path::new("/tmp");
        let mut stores = vec![Store::new(memory, number, false)?];
        if let Some(disk) = disk {
            stores.push(Store::new(disk, number, true)?);
        }
        let arena = Arena::new()?;
        // Frames of its own: that of all zeros is everyone's.
        (0..DATA).for_each(|page| arena.fill(page, 0));
        Ok(Self {
            random: Random::new(seed, &[number]),
            arena,
            fills: [0; DATA],
            next_fill: number << 32,
            stores,
            pipe: io::pipe().context("cannot make a pipe")?,
            injector,
            turn: File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(memory.join("soak-turn"))
                .context("cannot make a file in /tmp")?,
            counts,
        })
    }

    /// Works until then.
    ///
    /// # Errors
    ///
    /// If something was wrong that nobody had told of.
    pub(crate) fn work_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            self.act()?;
            self.counts.add(Count::Done);
        }
        (0..DATA).try_for_each(|page| self.verify(page))?;
        self.meet_all_of_files()
    }

    fn act(&mut self) -> Result<()> {
        let page = self.random.below(DATA as u64) as usize;
        match self.random.below(12) {
            0 => self.poison_memory(page),
            1 => self.poison_file(),
            2 | 3 => {
                self.refill(page);
                Ok(())
            }
            4 => self.verify(page),
            5 => self.write(page),
            6 | 7 => self.read(),
            8 => self.look(),
            9 => self.send(page),
            10 => match self.random.below(8) {
                0 => self.fork(),
                1 => self.verify_at_once(),
                2 => self.sync(),
                3 => self.empty(),
                _ => self.verify(page),
            },
            _ => self.read(),
        }
    }

    fn refill(&mut self, page: usize) {
        self.next_fill += 1;
        // A page that is lost under the stores is made anew by the handler, with zeros before.
        self.arena.was_lost(page);
        self.arena.fill(page, self.next_fill);
        self.fills[page] = self.next_fill;
        if self.arena.was_lost(page) {
            self.tell_loss(page);
        }
    }

    /// The page is zeros now; its owner was told.
    fn tell_loss(&mut self, page: usize) {
        self.counts.add(Count::Told);
        self.arena.fill(page, 0);
        self.fills[page] = 0;
    }

    fn verify(&mut self, page: usize) -> Result<()> {
        let difference = self.arena.find_difference(page, self.fills[page], SIZE);
        if self.arena.was_lost(page) {
            self.tell_loss(page);
            return Ok(());
        }
        if let Some(byte) = difference {
            bail!("byte {byte} of page {page} is wrong, and nobody said so");
        }
        self.counts.add(Count::Verified);
        Ok(())
    }

    /// Two threads, each of which meets what is bad.
    fn verify_at_once(&mut self) -> Result<()> {
        let (arena, fills) = (&self.arena, &self.fills);
        let look = || -> Vec<Option<usize>> {
            let pages = fills.iter().enumerate();
            pages
                .map(|(page, fill)| arena.find_difference(page, *fill, SIZE))
                .collect()
        };
        let found = thread::scope(|scope| {
            let other = scope.spawn(look);
            let ours = look();
            other.join().map(|theirs| (ours, theirs))
        });
        let Ok((ours, theirs)) = found else {
            bail!("a thread panicked");
        };
        for page in 0..DATA {
            if self.arena.was_lost(page) {
                self.tell_loss(page);
            } else if let Some(byte) = ours[page].or(theirs[page]) {
                bail!("byte {byte} of page {page} is wrong for a thread, and nobody said so");
            }
        }
        Ok(())
    }

    fn poison_memory(&mut self, page: usize) -> Result<()> {
        match self.arena.physical(page)? {
            Some(physical) => self.poison(physical),
            None => Ok(()),
        }
    }

    fn poison_file(&mut self) -> Result<()> {
        let index = self.some_page();
        let Some(store) = self.some_store() else {
            return Ok(());
        };
        let file = store.file.try_clone()?;
        self.arena.show(WINDOW, &file, index as u64)?;
        self.arena.load_all(WINDOW);
        // It may have been bad already; what is there then is no page of the file.
        if !self.arena.was_lost(WINDOW)
            && let Some(physical) = self.arena.physical(WINDOW)?
        {
            self.poison(physical)?;
        }
        self.arena.hide(WINDOW)
    }

    fn poison(&mut self, physical: u64) -> Result<()> {
        let line = physical + self.random.below((SIZE / LINE) as u64) * LINE as u64;
        self.turn.lock().context("cannot lock a file")?;
        // The page may have been given up since, and be in nobody's hands, or failing already.
        let poisoned = self.injector.poison(line);
        self.turn.unlock().context("cannot unlock a file")?;
        poisoned?;
        self.counts.add(Count::Poisoned);
        Ok(())
    }

    /// Loads all of the files, so that what is bad is met before its memory goes back to the
    /// kernel: what the kernel then keeps there for itself, it cannot lose.
    fn meet_all_of_files(&mut self) -> Result<()> {
        for store in &self.stores {
            for index in 0..store::PAGES {
                self.arena.show(WINDOW, &store.file, index as u64)?;
                self.arena.load_all(WINDOW);
                if self.arena.was_lost(WINDOW) {
                    self.counts.add(Count::Told);
                }
                self.arena.hide(WINDOW)?;
            }
        }
        Ok(())
    }

    fn empty(&mut self) -> Result<()> {
        self.meet_all_of_files()?;
        self.some_store().map_or(Ok(()), Store::empty)
    }

    /// Writes a page of data to a file.
    fn write(&mut self, page: usize) -> Result<()> {
        let index = self.some_page();
        let fill = self.fills[page];
        let from = self.arena.at(page);
        let Some(store) = self.some_store() else {
            return Ok(());
        };
        #[expect(unsafe_code, reason = "the buffer's memory may fail")]
        // SAFETY: a page of the arena's.
        let written = unsafe {
            libc::pwrite(
                store.file.as_raw_fd(),
                from.cast(),
                SIZE,
                (index * SIZE) as libc::off_t,
            )
        };
        let error = io::Error::last_os_error();
        store.synced[index] = false;
        store.fills[index] = match (usize::try_from(written), error.raw_os_error()) {
            (Ok(SIZE), _) => Some(fill),
            (Ok(count), _) => {
                ensure!(count.is_multiple_of(LINE), "{count} bytes were written");
                None
            }
            (Err(_), Some(libc::EFAULT)) => None,
            (Err(_), _) => return Err(error).context("cannot write a file"),
        };
        if store.fills[index].is_none() {
            self.counts.add(Count::Told);
        }
        Ok(())
    }

    /// Reads a page of a file, and compares.
    fn read(&mut self) -> Result<()> {
        let index = self.some_page();
        let buffer = self.arena.at(BUFFER);
        let Some(place) = self.some_place() else {
            return Ok(());
        };
        let store = &mut self.stores[place];
        #[expect(unsafe_code, reason = "the buffer is no memory of Rust's")]
        // SAFETY: a page of the arena's.
        let read = unsafe {
            libc::pread(
                store.file.as_raw_fd(),
                buffer.cast(),
                SIZE,
                (index * SIZE) as libc::off_t,
            )
        };
        let error = io::Error::last_os_error();
        let count = match (usize::try_from(read), error.raw_os_error()) {
            (Ok(count), _) => count,
            (Err(_), Some(libc::EIO)) => 0,
            (Err(_), _) => return Err(error).context("cannot read a file"),
        };
        ensure!(count.is_multiple_of(LINE), "{count} bytes were read");
        let fill = store.fills[index];
        let again = store.can_be_read_again(index);
        if count < SIZE {
            ensure!(
                !again,
                "page {index} is on disk, but {count} bytes of it were read"
            );
            store.fills[index] = None;
            self.counts.add(Count::Told);
        }
        if let Some(fill) = fill {
            if let Some(byte) = self.arena.find_difference(BUFFER, fill, count) {
                bail!("byte {byte} of page {index} of a file is wrong, and nobody said so");
            }
            self.counts.add(Count::Verified);
        }
        Ok(())
    }

    /// Maps a page of a file, and compares.
    fn look(&mut self) -> Result<()> {
        let index = self.some_page();
        let Some(place) = self.some_place() else {
            return Ok(());
        };
        let (file, fill) = (&self.stores[place].file, self.stores[place].fills[index]);
        self.arena.show(WINDOW, file, index as u64)?;
        let difference = match fill {
            Some(fill) => self.arena.find_difference(WINDOW, fill, SIZE),
            None => {
                self.arena.load_all(WINDOW);
                None
            }
        };
        let was_lost = self.arena.was_lost(WINDOW);
        self.arena.hide(WINDOW)?;
        let store = &mut self.stores[place];
        if was_lost {
            ensure!(
                !store.can_be_read_again(index),
                "page {index} is on disk, but a load of it fails"
            );
            store.fills[index] = None;
            self.counts.add(Count::Told);
        } else if let Some(byte) = difference {
            bail!("byte {byte} of page {index} of a mapped file is wrong, and nobody said so");
        } else {
            self.counts.add(Count::Verified);
        }
        Ok(())
    }

    /// Sends a page through a pipe.
    fn send(&mut self, page: usize) -> Result<()> {
        let (from, to) = (self.arena.at(page), self.arena.at(BUFFER));
        let (reader, writer) = (self.pipe.0.as_raw_fd(), self.pipe.1.as_raw_fd());
        #[expect(unsafe_code, reason = "the buffer's memory may fail")]
        // SAFETY: a page of the arena's.
        let sent = unsafe { libc::write(writer, from.cast(), SIZE) };
        let Ok(sent) = usize::try_from(sent) else {
            let error = io::Error::last_os_error();
            ensure!(
                error.raw_os_error() == Some(libc::EFAULT),
                "cannot write to a pipe: {error}"
            );
            self.counts.add(Count::Told);
            return Ok(());
        };
        if sent < SIZE {
            self.counts.add(Count::Told);
        }
        #[expect(unsafe_code, reason = "the buffer is no memory of Rust's")]
        // SAFETY: a page of the arena's.
        let received = unsafe { libc::read(reader, to.cast(), SIZE) };
        ensure!(
            usize::try_from(received) == Ok(sent),
            "{sent} bytes went into a pipe, and {received} came out"
        );
        if let Some(byte) = self.arena.find_difference(BUFFER, self.fills[page], sent) {
            bail!("byte {byte} from a pipe is wrong, and nobody said so");
        }
        self.counts.add(Count::Verified);
        Ok(())
    }

    /// A child looks at everything, and changes some of it for itself.
    fn fork(&mut self) -> Result<()> {
        #[expect(unsafe_code, reason = "std has no fork")]
        // SAFETY: this process has one thread.
        let process = unsafe { libc::fork() };
        match process {
            0 => {
                let seen = self.work_as_child();
                if let Err(error) = &seen {
                    programs::output::note(&format!("a child: {error:#}"));
                }
                std::process::exit(i32::from(seen.is_err()));
            }
            -1 => {
                let error = io::Error::last_os_error();
                // A page that could not be copied for the child.
                ensure!(
                    error.raw_os_error() == Some(libc::EHWPOISON),
                    "cannot fork: {error}"
                );
                self.counts.add(Count::Told);
                Ok(())
            }
            process => {
                for _ in 0..8 {
                    let page = self.random.below(DATA as u64) as usize;
                    self.refill(page);
                }
                let status = wait(process)?;
                ensure!(status == 0, "a child ended with wait status {status:#x}");
                Ok(())
            }
        }
    }

    fn work_as_child(&mut self) -> Result<()> {
        self.arena.of_child()?;
        for page in 0..DATA {
            if self.random.once_in(4) {
                self.refill(page);
            }
            if self.random.once_in(8) {
                self.poison_memory(page)?;
            }
            self.verify(page)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        for store in self.stores.iter_mut().filter(|store| store.on_disk) {
            match store.file.sync_all() {
                Ok(()) => store.synced = store.fills.map(|fill| fill.is_some()),
                Err(error) => {
                    ensure!(
                        error.raw_os_error() == Some(libc::EIO),
                        "cannot write a file back: {error}"
                    );
                    store.fills = [None; store::PAGES];
                    self.counts.add(Count::Told);
                }
            }
        }
        Ok(())
    }

    fn some_page(&mut self) -> usize {
        self.random.below(store::PAGES as u64) as usize
    }

    fn some_place(&mut self) -> Option<usize> {
        let count = self.stores.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn some_store(&mut self) -> Option<&mut Store> {
        let place = self.some_place()?;
        self.stores.get_mut(place)
    }
}

/// Waits for a child, and returns what `wait` says of it.
///
/// # Errors
///
/// The system's.
pub(crate) fn wait(process: libc::pid_t) -> Result<libc::c_int> {
    let mut status = 0;
    #[expect(unsafe_code, reason = "std waits only for what it has started")]
    // SAFETY: the result is valid.
    let ended = unsafe { libc::waitpid(process, &mut status, 0) };
    ensure!(
        ended == process,
        "cannot wait for a child: {}",
        io::Error::last_os_error()
    );
    Ok(status)
}
