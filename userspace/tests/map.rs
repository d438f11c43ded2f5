//! Mapped files: every bad argument is an error, and nothing that happens to the file is fatal.
#![expect(unsafe_code, reason = "the helpers map memory")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;

use common::pages::{memory_file, page, pattern};
use proptest::prelude::*;
use seaworthy::{AccessError, Kind, MapError, Permission, Region, SafeMap, Side};

fn file_with(bytes: &[u8]) -> File {
    let file = memory_file(0);
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn share(file: &File) -> File {
    file.try_clone().unwrap()
}

/// The memory error in a result that must be one.
fn lost<T: std::fmt::Debug>(result: Result<T, AccessError>) -> seaworthy::MemoryError {
    match result {
        Err(AccessError::Memory(error)) => error,
        other => panic!("no memory error: {other:?}"),
    }
}

#[test]
fn what_is_written_is_read_and_reaches_the_file() {
    let file = file_with(&pattern(10_000));
    let map = SafeMap::read_write(share(&file), ..).unwrap();
    assert_eq!((map.len(), map.is_empty()), (10_000, false));
    map.write_at(5_000, b"hello").unwrap();
    map.store_at(9_992, 0x1122_3344_5566_7788_u64).unwrap();
    map.fill_at(0, 9, 100).unwrap();
    map.flush().unwrap();

    let mut bytes = vec![0; 10_000];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes[5_000..5_005], b"hello");
    assert_eq!(bytes[9_992..], 0x1122_3344_5566_7788_u64.to_ne_bytes());
    assert_eq!(bytes[..100], [9; 100]);

    let mut read = vec![0; 10_000];
    map.read_at(0, &mut read).unwrap();
    assert!(read == bytes);
    assert_eq!(map.load_at::<u64>(9_992), Ok(0x1122_3344_5566_7788));
    assert_eq!(map.load_at::<[u8; 5]>(5_000), Ok(*b"hello"));
    assert_eq!(map.compare_at(0, &bytes), Ok(None));
    bytes[7_777] ^= 1;
    assert_eq!(map.compare_at(0, &bytes), Ok(Some(7_777)));
    assert_eq!(map.find_byte_at(50, 9, 1_000), Ok(Some(50)));
    assert_eq!(map.find_byte_at(100, 0, 9_900), Ok(None));
    assert_eq!(map.is_zero_at(0, 100), Ok(false));
    let sum = map.checksum_at(0, 10_000).unwrap();
    map.store_at(4_321, 0_u8).unwrap();
    assert_ne!(map.checksum_at(0, 10_000).unwrap(), sum);
}

#[test]
fn what_is_out_of_range_is_an_error() {
    let map = SafeMap::read_write(file_with(&pattern(5_000)), ..).unwrap();
    let out = |result: Result<(), AccessError>| {
        assert!(
            matches!(
                result,
                Err(AccessError::OutOfRange {
                    available: 5_000,
                    ..
                })
            ),
            "{result:?}"
        );
    };
    for offset in [
        4_999,
        5_000,
        5_001,
        usize::MAX,
        usize::MAX - 1,
        isize::MAX as usize,
    ] {
        out(map.read_at(offset, &mut [0; 2]));
        out(map.write_at(offset, &[0; 2]));
        out(map.fill_at(offset, 0, 2));
        out(map.load_at::<u16>(offset).map(drop));
        out(map.store_at(offset, 0_u16));
        out(map.compare_at(offset, &[0; 2]).map(drop));
        out(map.checksum_at(offset, 2).map(drop));
        out(map.is_zero_at(offset, 2).map(drop));
        out(map.find_byte_at(offset, 0, 2).map(drop));
        out(map
            .probe(offset..offset.saturating_add(2).max(5_001))
            .map(drop));
    }
    for length in [5_001, usize::MAX] {
        out(map.fill_at(0, 0, length));
        out(map.checksum_at(0, length).map(drop));
        out(map.is_zero_at(1, length).map(drop));
        out(map.find_byte_at(1, 0, length).map(drop));
    }
    assert!(map.write_all_to(4_000..5_001, memory_file(0)).is_err());
    assert_eq!(map.read_at(5_000, &mut []), Ok(()));
    assert_eq!(map.is_zero_at(5_000, 0), Ok(true));
}

#[test]
fn a_map_for_reading_cannot_be_written() {
    let map = SafeMap::read_only(file_with(&pattern(100)), ..).unwrap();
    assert_eq!(map.write_at(0, &[1]), Err(AccessError::ReadOnly));
    assert_eq!(map.store_at(50, 1_u32), Err(AccessError::ReadOnly));
    assert_eq!(map.fill_at(99, 1, 1), Err(AccessError::ReadOnly));
    assert_eq!(map.write_at(1_000, &[1]), Err(AccessError::ReadOnly));
    assert_eq!(map.load_at::<u8>(0), Ok(1));
}

#[test]
fn a_range_that_cannot_be_mapped_is_an_error() {
    let file = file_with(&pattern(5_000));
    let beyond = |result: Result<SafeMap, MapError>| {
        assert!(
            matches!(
                result,
                Err(MapError::BeyondEnd {
                    file_length: 5_000,
                    ..
                })
            ),
            "{result:?}"
        );
    };
    beyond(SafeMap::read_only(share(&file), ..5_001));
    beyond(SafeMap::read_only(share(&file), 6_000..));
    beyond(SafeMap::read_only(share(&file), 0..u64::MAX));
    beyond(SafeMap::read_only(share(&file), u64::MAX..));
    let invalid = |result: Result<SafeMap, MapError>| {
        assert!(
            matches!(result, Err(MapError::InvalidRange { .. })),
            "{result:?}"
        );
    };
    #[expect(clippy::reversed_empty_ranges, reason = "bad on purpose")]
    let reversed = 300..200;
    invalid(SafeMap::read_only(share(&file), reversed));
    invalid(SafeMap::read_only(share(&file), ..=u64::MAX));
    let zero = File::open("/dev/zero").unwrap();
    assert!(matches!(
        SafeMap::read_only(share(&zero), ..),
        Err(MapError::NoLength)
    ));
    invalid(SafeMap::read_only(share(&zero), ..1 << 63));
    // Devices are mapped as far as one asks.
    let map = SafeMap::read_only(zero, ..8_192).unwrap();
    assert_eq!(map.is_zero_at(0, 8_192), Ok(true));

    let path = std::env::temp_dir().join(format!("seaworthy-map-{}", std::process::id()));
    std::fs::write(&path, [1; 10]).unwrap();
    let file = File::open(&path).unwrap();
    assert!(matches!(
        SafeMap::read_write(file, ..),
        Err(MapError::Io(_))
    ));
    std::fs::remove_file(path).unwrap();
    let directory = File::open(std::env::temp_dir()).unwrap();
    assert!(SafeMap::read_only(directory, ..100).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn offsets_need_no_alignment(start in 0..20_000_u64, length in 0..20_000_u64, place: prop::sample::Index) {
        let contents = pattern(40_000);
        let file = file_with(&contents);
        let map = SafeMap::read_write(share(&file), start..start + length).unwrap();
        let expected = &contents[start as usize..(start + length) as usize];
        prop_assert_eq!(map.len(), expected.len());
        prop_assert_eq!(map.compare_at(0, expected), Ok(None));
        if length > 0 {
            let place = place.index(expected.len());
            map.store_at(place, 0_u8).unwrap();
            let mut byte = [1];
            file.read_exact_at(&mut byte, start + place as u64).unwrap();
            prop_assert_eq!(byte, [0]);
        }
        drop(map);
    }
}

#[test]
fn truncation_is_an_error_with_exact_progress() {
    let file = file_with(&pattern(4 * page()));
    let map = SafeMap::read_write(share(&file), ..).unwrap();
    file.set_len(page() as u64 + 10).unwrap();
    let good = 2 * page();
    let mut bytes = vec![0; 4 * page()];
    let error = lost(map.read_at(100, &mut bytes[..3 * page()]));
    assert_eq!(
        (error.copied, error.side, error.kind),
        (good - 100, Some(Side::Source), Kind::TruncatedOrIo)
    );
    assert_eq!(error.extent.unwrap().start, map.address() + good);
    assert_eq!(bytes[..page() - 90], pattern(4 * page())[100..page() + 10]);
    let error = lost(map.write_at(good - 5, &bytes[..100]));
    assert_eq!((error.copied, error.side), (5, Some(Side::Destination)));
    // It is not poison, and is not remembered: the file may grow again.
    assert_eq!(map.poisoned(), []);
    let unreadable = map.probe(0..map.len()).unwrap();
    assert_eq!(unreadable.len(), 2, "{unreadable:?}");
    assert!(
        unreadable
            .iter()
            .all(|found| found.kind == Kind::TruncatedOrIo)
    );
    assert_eq!(unreadable[0].range, good..good + page());
    file.set_len(4 * page() as u64).unwrap();
    assert_eq!(map.is_zero_at(good, 2 * page()), Ok(true));
    assert_eq!(map.probe(0..map.len()).unwrap(), []);
}

#[test]
fn refresh_follows_the_file() {
    let file = memory_file(0);
    let mut open = SafeMap::read_only(share(&file), ..).unwrap();
    assert!(open.is_empty());
    assert_eq!(open.read_at(0, &mut []), Ok(()));
    assert!(open.read_at(0, &mut [0]).is_err());
    assert_eq!(open.probe(0..0).unwrap(), []);
    open.flush().unwrap();

    file.write_all_at(&pattern(7_000), 0).unwrap();
    assert_eq!(open.refresh().unwrap(), 7_000);
    assert_eq!(open.compare_at(0, &pattern(7_000)), Ok(None));
    let mut part = SafeMap::read_only(share(&file), 5_000..6_000).unwrap();
    file.set_len(5_500).unwrap();
    assert_eq!(
        (open.refresh().unwrap(), part.refresh().unwrap()),
        (5_500, 500)
    );
    assert_eq!(part.compare_at(0, &pattern(7_000)[5_000..5_500]), Ok(None));
    file.set_len(100).unwrap();
    assert_eq!((open.refresh().unwrap(), part.refresh().unwrap()), (100, 0));
    file.set_len(9_000).unwrap();
    assert_eq!(
        (open.refresh().unwrap(), part.refresh().unwrap()),
        (9_000, 1_000)
    );
    assert_eq!(part.is_zero_at(0, 1_000), Ok(true));
    assert_eq!(part.refresh().unwrap(), 1_000);
}

#[test]
fn a_bounce_writes_all_that_comes_before_the_failure() {
    let length = 40 * page();
    let contents = pattern(length);
    let file = file_with(&contents);
    let map = SafeMap::read_only(share(&file), ..).unwrap();
    let mut target = memory_file(0);
    map.write_all_to(10..length, &target).unwrap();
    let mut copied = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut copied).unwrap();
    assert!(copied == contents[10..]);

    file.set_len(30 * page() as u64).unwrap();
    let mut target = memory_file(0);
    let error = map.write_all_to(10..length, &target).unwrap_err();
    assert_eq!(error.written, 30 * page() - 10);
    let seaworthy::WriteErrorCause::Access(cause) = error.cause else {
        panic!("{error}");
    };
    assert_eq!(cause.copied(), error.written);
    copied.clear();
    target.rewind().unwrap();
    target.read_to_end(&mut copied).unwrap();
    assert!(copied == contents[10..30 * page()]);

    // The other side may fail too.
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.flush().unwrap();
    let error = map.write_all_to(0..10, &writer).unwrap_err();
    assert!(
        matches!(error.cause, seaworthy::WriteErrorCause::Io(_)),
        "{error}"
    );
}

#[test]
fn maps_are_used_by_many_threads_while_the_file_changes() {
    let length = 16 * page();
    let file = file_with(&pattern(length));
    let map = SafeMap::read_write(share(&file), ..).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let map = &map;
            scope.spawn(move || {
                let mut bytes = vec![0; length];
                for turn in 0..300 {
                    let offset = (turn * 977 + thread * 31) % length;
                    let wanted = length - offset;
                    if let Err(error) = map.read_at(offset, &mut bytes[..wanted]) {
                        // Anywhere: a page may go when half of it was read.
                        assert!(lost(Err::<(), _>(error)).copied < wanted);
                    }
                    let _ = map.write_at(offset, &bytes[..(length - offset).min(100)]);
                }
            });
        }
        for turn in 0..200 {
            file.set_len((turn % 17 * page()) as u64).unwrap();
        }
    });
}

#[test]
fn a_region_checks_what_it_can() {
    use seaworthy::InvalidRange::{Null, Overflow};
    let memory = seaworthy::install().unwrap();
    let new = |start: usize, length| {
        let start = std::ptr::without_provenance_mut(start);
        // SAFETY: either refused, or empty.
        unsafe { Region::new(memory, start, length, Permission::Read) }.map(|region| region.len())
    };
    assert_eq!(new(0, 10), Err(Null));
    assert_eq!(new(usize::MAX - 5, 10), Err(Overflow));
    assert_eq!(new(4096, usize::MAX), Err(Overflow));
    assert_eq!(new(4096, isize::MAX as usize + 1), Err(Overflow));
    assert_eq!(new(4096, 0), Ok(0));
}
