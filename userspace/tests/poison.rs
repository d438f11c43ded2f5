//! Real poison: `MADV_HWPOISON`, as root, on a kernel with `CONFIG_MEMORY_FAILURE`. Each test loses
//! a few pages of the machine until it is restarted.
#![expect(unsafe_code, reason = "the helpers map memory and poison it")]

mod common;

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use common::child::{self, End};
use common::inject::{can_hwpoison, hwpoison};
use common::pages::{Pages, memory_file, page, pattern};
use seaworthy::{
    AccessError, Heal, HealError, Kind, Listener, Lost, Memory, Permission, Region, SafeMap, Side,
};

macro_rules! need_hwpoison {
    () => {
        if let Err(why) = can_hwpoison() {
            testing::skip!("{why}");
        }
    };
}

fn at(index: usize) -> Range<usize> {
    index * page()..(index + 1) * page()
}

/// Private pages with the pattern, and a region over them.
fn region(count: usize) -> (Region, Pages) {
    let memory = seaworthy::install().unwrap();
    let pages = Pages::anonymous(count);
    pages.write(&pattern(count * page()));
    // SAFETY: the callers drop the pages last.
    let region =
        unsafe { Region::new(memory, pages.start(), pages.len(), Permission::ReadWrite) }.unwrap();
    (region, pages)
}

/// Poisons a page of a file in memory. Another process does it, because `MADV_HWPOISON` counts as
/// an access: this process is told as one that has not touched the page.
fn lose_page_of(file: &File, index: usize) {
    let end = child::run(|| {
        let pages = Pages::of(file, index + 1);
        // SAFETY: a byte of a good page.
        unsafe { pages.at(index * page()).read_volatile() };
        hwpoison(&pages, index).unwrap();
    });
    // Its SIGBUS was not for a region, and went to the handler of `std`, which swallows one.
    assert_eq!(end, End::Returned);
}

fn lost(result: Result<(), AccessError>) -> seaworthy::MemoryError {
    match result {
        Err(AccessError::Memory(error)) => error,
        other => panic!("no memory error: {other:?}"),
    }
}

fn every_operation_stops_at_poison() {
    need_hwpoison!();
    let (region, pages) = region(3);
    // The kernel tells of it at once, with a program counter that is not ours.
    hwpoison(&pages, 1).unwrap();
    let memory: Memory = seaworthy::install().unwrap();
    let contents = pattern(3 * page());
    let bad = pages.at(page());
    let check = |error: seaworthy::MemoryError, copied, side| {
        assert_eq!(
            (error.copied, error.side, error.kind),
            (copied, Some(side), Kind::Poisoned),
            "{error}"
        );
        let extent = error.extent.unwrap();
        assert_eq!((extent.start, extent.length), (bad.addr(), page()));
    };
    let mut buffer = vec![0; 2 * page()];
    for before in [0, 1, 7, 8, 15, 16, 63, 64, 100, 1000, page() - 1, page()] {
        let start = pages.at(page() - before);
        for after in [1, 2, 8, 40, 1000, page()] {
            let length = before + after;
            // SAFETY: mapped for `length` bytes.
            let error = unsafe { memory.copy(buffer.as_mut_ptr(), start, length) };
            check(error.unwrap_err(), before, Side::Source);
            assert_eq!(buffer[..before], contents[page() - before..page()]);
            // SAFETY: as above.
            let error = unsafe { memory.copy(start, contents[page() - before..].as_ptr(), length) };
            check(error.unwrap_err(), before, Side::Destination);
            // SAFETY: as above.
            let error = unsafe { memory.find_byte(start, 0, length) };
            check(error.unwrap_err(), before, Side::Source);
            // SAFETY: as above.
            let error = unsafe { memory.checksum(start, length) };
            check(error.unwrap_err(), before, Side::Source);
            // SAFETY: as above.
            let error =
                unsafe { memory.compare(start, contents[page() - before..].as_ptr(), length) };
            check(error.unwrap_err(), before, Side::Source);
        }
    }
    // SAFETY: mapped.
    check(
        unsafe { memory.load(bad.cast::<u64>()) }.unwrap_err(),
        0,
        Side::Source,
    );
    // SAFETY: mapped.
    check(
        unsafe { memory.store(bad, 1_u8) }.unwrap_err(),
        0,
        Side::Destination,
    );
    // SAFETY: mapped.
    check(
        unsafe { memory.fill(bad, 0, 9) }.unwrap_err(),
        0,
        Side::Destination,
    );
    // SAFETY: mapped.
    check(
        unsafe { memory.is_zero(bad, 9) }.unwrap_err(),
        0,
        Side::Source,
    );
    drop(region);
}

fn poison_of_a_program_that_does_not_know_kills_it() {
    need_hwpoison!();
    let end = child::run(|| {
        seaworthy::install().unwrap();
        let pages = Pages::anonymous(1);
        pages.write(&[1]);
        // Reported at once; the handler of `std` returns, and the load fails again.
        hwpoison(&pages, 0).unwrap();
        // SAFETY: not safe, which is the point.
        unsafe { pages.start().read_volatile() };
    });
    assert_eq!(end, End::Signal(libc::SIGBUS));
}

fn anonymous_memory_is_probed_and_healed() {
    need_hwpoison!();
    let (region, pages) = region(6);
    hwpoison(&pages, 2).unwrap();
    hwpoison(&pages, 4).unwrap();
    let found = region.probe(0..6 * page()).unwrap();
    let ranges: Vec<_> = found.iter().map(|found| found.range.clone()).collect();
    assert_eq!(ranges, [at(2), at(4)]);
    assert!(found.iter().all(|found| found.kind == Kind::Poisoned));
    assert_eq!(
        lost(region.read_at(0, &mut vec![0; 6 * page()])).copied,
        2 * page()
    );

    region.heal(at(2), Heal::With(&vec![0x5a; page()])).unwrap();
    region.heal(0..6 * page(), Heal::Zero).unwrap();
    assert_eq!(region.poisoned(), []);
    let mut expected = pattern(6 * page());
    expected[at(2)].fill(0x5a);
    expected[at(4)].fill(0);
    assert_eq!(region.compare_at(0, &expected), Ok(None));
    region.write_at(0, &pattern(6 * page())).unwrap();
}

fn memory_of_a_file_is_lost_to_all_and_healed_with_new_contents() {
    need_hwpoison!();
    let file = memory_file(4 * page());
    let map = SafeMap::read_write(file.try_clone().unwrap(), ..).unwrap();
    map.write_at(0, &pattern(4 * page())).unwrap();
    lose_page_of(&file, 1);

    let error = lost(map.read_at(5, &mut vec![0; 3 * page()]));
    assert_eq!((error.copied, error.kind), (page() - 5, Kind::Poisoned));
    // There is no other copy of what was only in memory.
    let still = map.heal(at(1), Heal::FromFile);
    assert!(
        matches!(&still, Err(HealError::StillBad(range, _)) if *range == at(1)),
        "{still:?}"
    );
    assert_eq!(map.poisoned(), [at(1)]);
    let mut target = memory_file(0);
    let error = map.write_all_to(0..4 * page(), &target).unwrap_err();
    assert_eq!(error.written, page());

    map.heal(at(1), Heal::With(&vec![3; page()])).unwrap();
    let mut expected = pattern(4 * page());
    expected[at(1)].fill(3);
    assert_eq!(map.compare_at(0, &expected), Ok(None));
    map.write_all_to(page()..4 * page(), &target).unwrap();
    target.rewind().unwrap();
    let mut copied = Vec::new();
    target.read_to_end(&mut copied).unwrap();
    assert_eq!(copied[page()..], expected[page()..]);
}

fn a_region_that_starts_inside_of_a_page_is_healed() {
    need_hwpoison!();
    let file = memory_file(3 * page());
    let start = page() / 2;
    let map = SafeMap::read_write(file.try_clone().unwrap(), start as u64..).unwrap();
    map.fill_at(0, 7, map.len()).unwrap();
    lose_page_of(&file, 0);
    assert_eq!(lost(map.read_at(0, &mut [0; 8])).copied, 0);
    let first = 0..page() - start;
    assert_eq!(map.poisoned(), std::slice::from_ref(&first));
    map.heal(0..map.len(), Heal::Zero).unwrap();
    assert_eq!(map.is_zero_at(0, page() - start), Ok(true));
    assert_eq!(map.load_at::<u8>(page() - start), Ok(7));
}

fn a_listener_hears_before_anyone_touches_it() {
    need_hwpoison!();
    let end = child::run(|| {
        let (region, pages) = region(4);
        let (send, receive) = mpsc::channel();
        let listener = Listener::start(move |event| send.send(event.clone()).unwrap()).unwrap();
        let file = memory_file(4 * page());
        let map = SafeMap::read_write(file.try_clone().unwrap(), ..).unwrap();
        map.write_at(0, &pattern(4 * page())).unwrap();
        lose_page_of(&file, 3);
        let event = receive.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(event.extent.start, map.address() + 3 * page());
        assert_eq!(
            event.lost,
            [Lost {
                region: map.id(),
                range: at(3)
            }]
        );
        // The region was not touched, so no access failed; it is known all the same.
        assert_eq!(map.poisoned(), [at(3)]);
        assert_eq!(region.poisoned(), []);
        listener.stop().unwrap();
        drop(region);
        drop(pages);
    });
    assert_eq!(end, End::Returned);
}

fn threads_meet_the_same_poison() {
    need_hwpoison!();
    let (region, pages) = region(2);
    hwpoison(&pages, 1).unwrap();
    let memory = seaworthy::install().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut buffer = vec![0; 2 * page()];
                for before in 0..50 {
                    let from = pages.at(page() - before);
                    // SAFETY: mapped for so many bytes.
                    let result = unsafe { memory.copy(buffer.as_mut_ptr(), from, before + 40) };
                    assert_eq!(result.unwrap_err().copied, before);
                }
            });
        }
    });
    drop(region);
}

fn all_of_a_huge_page_is_lost() {
    need_hwpoison!();
    const HUGE: usize = 2 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    if std::fs::write("/proc/sys/vm/nr_hugepages", "4").is_err() {
        testing::skip!("huge pages cannot be reserved");
    }
    // SAFETY: a new mapping wherever the kernel likes touches nothing that exists.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), HUGE, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        testing::skip!("there is no free huge page of 2 MiB");
    }
    let memory = seaworthy::install().unwrap();
    // SAFETY: our mapping, which stays.
    let region = unsafe { Region::new(memory, start.cast(), HUGE, Permission::ReadWrite) }.unwrap();
    region.write_at(0, &pattern(HUGE)).unwrap();
    // SAFETY: one page of it, which we expect to lose.
    let result =
        unsafe { libc::madvise(start.wrapping_byte_add(0x5000), page(), libc::MADV_HWPOISON) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let error = lost(region.read_at(0x4567, &mut [0; 16]));
    let extent = error.extent.unwrap();
    assert_eq!((extent.start, extent.length), (start.addr(), HUGE));
    assert_eq!(region.poisoned(), std::slice::from_ref(&(0..HUGE)));
    let part = region.heal(0..page(), Heal::Zero);
    assert!(matches!(part, Err(HealError::Partial(_))), "{part:?}");
    region.heal(0..HUGE, Heal::With(&pattern(HUGE))).unwrap();
    assert_eq!(region.compare_at(0, &pattern(HUGE)), Ok(None));
}

/// A load from a physical address at which there is nothing is a real synchronous external abort,
/// which no firmware claims: QEMU's `virt` machine has such addresses, and `/dev/mem` gives them.
fn an_abort_that_no_firmware_claims_is_poison() {
    const NOTHING: u64 = 0x0e00_0000;
    if !cfg!(target_arch = "aarch64") {
        testing::skip!("only arm64 takes synchronous external aborts");
    }
    let machine = std::fs::read("/proc/device-tree/compatible").unwrap_or_default();
    if machine != b"linux,dummy-virt\0" {
        testing::skip!("this is not QEMU's virt machine, whose empty addresses are known");
    }
    let file = match File::options().read(true).open("/dev/mem") {
        Ok(file) => file,
        Err(error) => testing::skip!("/dev/mem cannot be opened: {error}"),
    };
    let map = SafeMap::read_only(file, NOTHING..NOTHING + page() as u64).unwrap();
    for offset in [0, 8, 0x128] {
        let error = lost(map.load_at::<u64>(offset).map(drop));
        assert_eq!((error.copied, error.side), (0, Some(Side::Source)));
        assert_eq!(error.kind, Kind::Poisoned);
    }
    // The first one told.
    let all = 0..page();
    assert_eq!(map.poisoned(), std::slice::from_ref(&all));
    let memory = seaworthy::install().unwrap();
    for offset in [0, 8, 0x128] {
        let place = std::ptr::with_exposed_provenance::<u32>(map.address() + offset);
        // SAFETY: mapped for reads, as long as the map lives.
        let error = unsafe { memory.load(place) }.unwrap_err();
        assert_eq!((error.kind, error.copied), (Kind::Poisoned, 0));
    }
}

testing::without_threads! {
    every_operation_stops_at_poison,
    poison_of_a_program_that_does_not_know_kills_it,
    anonymous_memory_is_probed_and_healed,
    memory_of_a_file_is_lost_to_all_and_healed_with_new_contents,
    a_region_that_starts_inside_of_a_page_is_healed,
    a_listener_hears_before_anyone_touches_it,
    threads_meet_the_same_poison,
    all_of_a_huge_page_is_lost,
    an_abort_that_no_firmware_claims_is_poison,
}
