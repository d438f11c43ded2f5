//! A cache that drops one poisoned entry and serves the rest.
//!
//! A thousand entries lie in one mapped file. The memory under one is lost: really poisoned where
//! that is possible (root, `CONFIG_MEMORY_FAILURE`), else cut off the file. The lookup that meets it
//! gets an error; the cache drops what lies there, and replaces it by good memory if it can.
//! Run it with `cargo run --example cache`; it ends by itself.
#![expect(unsafe_code, reason = "the demonstration poisons its own memory")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;

use seaworthy::{AccessError, Heal, Kind, SafeMap};

const ENTRIES: usize = 1000;
const ENTRY: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let file = temporary_file(ENTRIES * ENTRY)?;
    let mut cache = Cache::new(SafeMap::read_write(file.try_clone()?, ..)?);
    for key in 0..ENTRIES {
        cache.insert(key, value(key))?;
    }
    println!(
        "{} entries, all served: {}",
        cache.places.len(),
        served(&mut cache)?
    );

    // The last entry: the end of the file can be cut off.
    let victim = ENTRIES - 1;
    match poison(cache.map.address() + victim * ENTRY) {
        Ok(()) => println!("poisoned the page of entry {victim}"),
        Err(error) => {
            println!("cannot poison memory here ({error}); cutting entry {victim} off the file");
            let page = victim * ENTRY / page_size() * page_size();
            file.set_len(page as u64)?;
        }
    }
    let before = cache.places.len();
    let count = served(&mut cache)?;
    let dropped = before - cache.places.len();
    println!("{count} entries served, {dropped} dropped with the page that was lost");
    for key in 0..ENTRIES {
        if !cache.places.contains_key(&key) {
            cache.insert(key, value(key))?;
        }
    }
    let again = served(&mut cache)?;
    println!(
        "after filling it again: {again} entries served, {} spare",
        cache.free.len()
    );

    if count + dropped != ENTRIES || dropped == 0 || again + cache.lost != ENTRIES {
        return Err("the cache served something else than it should".into());
    }
    Ok(())
}

/// How many entries give the right value. Those that fail are dropped on the way.
fn served(cache: &mut Cache) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    for key in 0..ENTRIES {
        match cache.get(key)? {
            Some(found) if found == value(key) => count += 1,
            Some(_) => return Err(format!("entry {key} has the value of another").into()),
            None => {}
        }
    }
    Ok(count)
}

fn value(key: usize) -> [u8; ENTRY] {
    std::array::from_fn(|index| (key * 7 + index) as u8)
}

/// Values of one size in a mapped file.
struct Cache {
    map: SafeMap,
    /// Where each key's value is, in entries from the start.
    places: HashMap<usize, usize>,
    free: Vec<usize>,
    /// Places that could not be replaced.
    lost: usize,
}

impl Cache {
    fn new(map: SafeMap) -> Self {
        let free = (0..map.len() / ENTRY).rev().collect();
        Self {
            map,
            places: HashMap::new(),
            free,
            lost: 0,
        }
    }

    /// Stores a value; does nothing if no place is left, as a cache may.
    fn insert(&mut self, key: usize, value: [u8; ENTRY]) -> Result<(), AccessError> {
        if let Some(place) = self.free.pop() {
            self.map.write_at(place * ENTRY, &value)?;
            self.places.insert(key, place);
        }
        Ok(())
    }

    /// The value, or `None` if it was never stored or its memory is lost.
    fn get(&mut self, key: usize) -> Result<Option<[u8; ENTRY]>, Box<dyn Error>> {
        let Some(&place) = self.places.get(&key) else {
            return Ok(None);
        };
        match self.map.load_at(place * ENTRY) {
            Ok(value) => Ok(Some(value)),
            Err(AccessError::Memory(error)) => {
                println!("entry {key}: {error}");
                let extent = error.extent.ok_or("the lost page is not known")?;
                let start = extent.start.saturating_sub(self.map.address());
                let end = (start + extent.length).min(self.map.len());
                self.drop_range(start..end, error.kind);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets every entry that lies there, and makes the memory good again if that can be done.
    fn drop_range(&mut self, range: Range<usize>, kind: Kind) {
        let lies_there =
            |place: usize| place * ENTRY < range.end && range.start < (place + 1) * ENTRY;
        let before = self.places.len();
        self.places.retain(|_, place| !lies_there(*place));
        let places: Vec<_> = (0..ENTRIES).filter(|&place| lies_there(place)).collect();
        println!(
            "dropped {} entries at {range:?}",
            before - self.places.len()
        );
        let healed = kind == Kind::Poisoned && self.map.heal(range.clone(), Heal::Zero).is_ok();
        if healed {
            self.free.extend(places);
        } else {
            self.free.retain(|&place| !lies_there(place));
            self.lost += places.len();
        }
    }
}

fn page_size() -> usize {
    // SAFETY: takes any number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Loses the page at an address of this process, for real.
fn poison(address: usize) -> io::Result<()> {
    let start = (address & !(page_size() - 1)) as *mut libc::c_void;
    // SAFETY: a page of the map, which expects to lose any.
    match unsafe { libc::madvise(start, page_size(), libc::MADV_HWPOISON) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A file without a name, gone at the end.
fn temporary_file(length: usize) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("cache-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    file.set_len(length as u64)?;
    Ok(file)
}
