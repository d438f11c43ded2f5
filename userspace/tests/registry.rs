//! What a region knows of poison, with pages that are only marked as poisoned: a kernel without
//! memory failure handling can do that.
#![expect(unsafe_code, reason = "the helpers map memory")]

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::child::{self, End};
use common::inject;
use common::pages::{Pages, memory_file, page, pattern};
use seaworthy::{
    AccessError, Heal, HealError, Kind, ListenError, Listener, Lost, Permission, Region, Side,
};

const COUNT: usize = 8;

/// A region with pages 3 and 5 marked, the others with the pattern.
struct Marked {
    region: Region,
    pages: Pages,
}

impl Marked {
    fn new(permission: Permission) -> Result<Self, String> {
        Self::over(permission, Pages::anonymous(COUNT))
    }

    /// Of a file in memory: its pages stay resident where they are marked.
    fn resident() -> Result<Self, String> {
        let file = memory_file(COUNT * page());
        Self::over(Permission::Read, Pages::of(&file, COUNT))
    }

    fn over(permission: Permission, pages: Pages) -> Result<Self, String> {
        if inject::is_emulated() {
            return Err("qemu-user has no userfaultfd".to_owned());
        }
        let memory = seaworthy::install().unwrap();
        pages.write(&pattern(COUNT * page()));
        for bad in [3, 5] {
            // SAFETY: our page; a page must be absent to be marked.
            unsafe { libc::madvise(pages.at(bad * page()).cast(), page(), libc::MADV_DONTNEED) };
            drop(inject::mark(&pages, bad, 1)?);
        }
        // SAFETY: the pages are unmapped after the region is dropped, by the order of the fields.
        let region =
            unsafe { Region::new(memory, pages.start(), pages.len(), permission) }.unwrap();
        Ok(Self { region, pages })
    }
}

/// Byte offsets of a page.
fn at(index: usize) -> std::ops::Range<usize> {
    index * page()..(index + 1) * page()
}

/// How many SIGBUS this process got so far cannot be asked; so a page is made good behind the
/// region's back, and a region that does not touch it does not notice.
fn unmark(pages: &Pages, index: usize) {
    // SAFETY: our page.
    unsafe { libc::madvise(pages.at(index * page()).cast(), page(), libc::MADV_DONTNEED) };
}

fn poison_is_met_once_and_then_known() {
    let marked = match Marked::new(Permission::ReadWrite) {
        Ok(marked) => marked,
        Err(why) => testing::skip!("{why}"),
    };
    let (region, contents) = (&marked.region, pattern(COUNT * page()));
    let mut bytes = vec![0; COUNT * page()];
    let lost = |result: Result<(), AccessError>| match result {
        Err(AccessError::Memory(error)) => error,
        other => panic!("no memory error: {other:?}"),
    };
    assert_eq!(region.poisoned(), []);
    let error = lost(region.read_at(10, &mut bytes[10..]));
    assert_eq!(
        (error.copied, error.kind, error.side),
        (3 * page() - 10, Kind::Poisoned, Some(Side::Source))
    );
    assert_eq!(error.extent.unwrap().start, region.address() + 3 * page());
    assert_eq!(bytes[10..3 * page()], contents[10..3 * page()]);
    assert_eq!(region.poisoned(), [at(3)]);

    // From now on the page is not touched.
    unmark(&marked.pages, 3);
    let again = lost(region.read_at(10, &mut bytes[10..]));
    assert_eq!(again, error);
    let error = lost(region.write_at(4 * page() - 1, &[1, 2]));
    assert_eq!(
        (error.copied, error.kind, error.side),
        (0, Kind::Poisoned, Some(Side::Destination))
    );
    let error = lost(region.write_at(3 * page() - 1, &[1, 2]));
    assert_eq!(error.copied, 1);
    let error = lost(region.load_at::<u32>(3 * page() - 2).map(drop));
    assert_eq!(error.copied, 2);
    lost(region.store_at(3 * page() - 2, 7_u32));
    assert_eq!(region.load_at::<u8>(3 * page() - 1), Ok(1));

    // What lies before, behind and between can be used.
    region.read_at(0, &mut bytes[..3 * page()]).unwrap();
    region.write_at(4 * page(), &bytes[..page()]).unwrap();
    region
        .read_at(6 * page(), &mut bytes[..2 * page()])
        .unwrap();
    assert_eq!(bytes[..2 * page()], contents[6 * page()..]);
    let error = lost(region.read_at(4 * page(), &mut bytes[..2 * page()]));
    assert_eq!(error.copied, page());
    assert_eq!(region.poisoned(), [at(3), at(5)]);

    // A search that ends before the poison is no error.
    assert_eq!(
        region.find_byte_at(2 * page(), contents[2 * page() + 7], 4 * page()),
        Ok(Some(2 * page() + 7))
    );
    lost(region.find_byte_at(2 * page(), 0, 4 * page()).map(drop));
    lost(region.checksum_at(0, COUNT * page()).map(drop));
    lost(region.compare_at(6 * page() - 1, &[0; 2]).map(drop));
    assert_eq!(
        region.compare_at(2 * page(), &vec![0; 4 * page()]),
        Ok(Some(0))
    );
    assert!(matches!(
        region.read_at(COUNT * page(), &mut [0]),
        Err(AccessError::OutOfRange { .. })
    ));
}

fn probing_and_scanning_find_it_untouched() {
    let marked = match Marked::resident() {
        Ok(marked) => marked,
        Err(why) => testing::skip!("{why}"),
    };
    let region = &marked.region;
    let found = |range| {
        let found = region.probe(range).unwrap();
        assert!(found.iter().all(|found| found.kind == Kind::Poisoned));
        found
            .into_iter()
            .map(|found| found.range)
            .collect::<Vec<_>>()
    };
    assert_eq!(found(at(4)), []);
    assert_eq!(found(4 * page() - 1..4 * page() + 1), [at(3)]);
    assert_eq!(region.poisoned(), [at(3)]);
    // Other tests may have regions too.
    let new = || {
        seaworthy::rescan()
            .into_iter()
            .filter(|lost| lost.region == region.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        new(),
        [Lost {
            region: region.id(),
            range: at(5)
        }]
    );
    assert_eq!(new(), []);
    assert_eq!(found(0..COUNT * page()), [at(3), at(5)]);
}

fn healing_replaces_what_is_lost_and_nothing_else() {
    let marked = match Marked::new(Permission::ReadWrite) {
        Ok(marked) => marked,
        Err(why) => testing::skip!("{why}"),
    };
    let (region, contents) = (&marked.region, pattern(COUNT * page()));
    // Nothing is known yet, so there is nothing to heal.
    region.heal(0..COUNT * page(), Heal::Zero).unwrap();
    assert_eq!(region.probe(0..COUNT * page()).unwrap().len(), 2);

    let short = region.heal(at(3), Heal::With(&[1, 2, 3]));
    assert!(
        matches!(short, Err(HealError::Length { given: 3, .. })),
        "{short:?}"
    );
    let part = region.heal(3 * page()..4 * page() - 1, Heal::Zero);
    assert!(
        matches!(&part, Err(HealError::Partial(extent)) if *extent == at(3)),
        "{part:?}"
    );
    let out = region.heal(0..COUNT * page() + 1, Heal::Zero);
    assert!(matches!(out, Err(HealError::OutOfRange(_))), "{out:?}");

    region
        .heal(2 * page()..4 * page(), Heal::With(&vec![0xab; 2 * page()]))
        .unwrap();
    assert_eq!(region.poisoned(), [at(5)]);
    region.heal(0..COUNT * page(), Heal::Zero).unwrap();
    assert_eq!(region.poisoned(), []);
    let mut expected = contents;
    expected[at(3)].fill(0xab);
    expected[at(5)].fill(0);
    assert_eq!(region.compare_at(0, &expected), Ok(None));
    region.write_at(0, &pattern(COUNT * page())).unwrap();
}

fn what_is_read_only_is_healed_from_below() {
    let marked = match Marked::new(Permission::Read) {
        Ok(marked) => marked,
        Err(why) => testing::skip!("{why}"),
    };
    let region = &marked.region;
    region.probe(0..COUNT * page()).unwrap();
    assert!(matches!(
        region.heal(at(3), Heal::Zero),
        Err(HealError::ReadOnly)
    ));
    region.heal(at(3), Heal::FromFile).unwrap();
    assert_eq!(region.is_zero_at(3 * page(), page()), Ok(true));
    assert_eq!(region.poisoned(), [at(5)]);
}

/// The kernel's message is imitated, since nothing here sends it.
fn notice(marked: &Marked, index: usize) {
    inject::signal(
        libc::BUS_MCEERR_AO,
        marked.region.address() + index * page(),
        12,
    );
}

fn a_listener_hears_and_looks_everywhere() {
    // One listener to a process.
    let end = child::run(|| {
        let Ok(marked) = Marked::resident() else {
            return;
        };
        let (send, receive) = mpsc::channel();
        let listener = Listener::start(move |event| send.send(event.clone()).unwrap()).unwrap();
        assert!(matches!(Listener::start(|_| ()), Err(ListenError::Already)));
        let before = seaworthy::notices();
        // Two are lost, one is reported.
        notice(&marked, 5);
        let event = receive.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(event.extent.start, marked.region.address() + 5 * page());
        let lost = |index| Lost {
            region: marked.region.id(),
            range: at(index),
        };
        assert_eq!(event.lost, [lost(3), lost(5)]);
        assert_eq!(marked.region.poisoned(), [at(3), at(5)]);
        assert_ne!(seaworthy::notices(), before);
        // Also of memory that is nobody's.
        inject::signal(libc::BUS_MCEERR_AO, 0x1000, 21);
        let event = receive.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (event.extent.start, event.extent.length, event.lost),
            (0, 1 << 21, vec![])
        );
        listener.stop().unwrap();
        assert!(receive.recv().is_err(), "an event at the stop");
        Listener::start(|_| ()).unwrap();
    });
    if let Err(why) = Marked::resident() {
        testing::skip!("{why}");
    }
    assert_eq!(end, End::Returned);
}

fn a_listener_that_panics_gives_its_place_back() {
    if inject::is_emulated() {
        testing::skip!("qemu-user has no MADV_POPULATE_READ");
    }
    let end = child::run(|| {
        std::panic::set_hook(Box::new(|_| ()));
        let listener = Listener::start(|_| panic!("as asked")).unwrap();
        inject::signal(libc::BUS_MCEERR_AO, 0x1000, 12);
        std::thread::sleep(Duration::from_millis(200));
        assert!(listener.stop().is_err());
        Listener::start(|_| ()).unwrap().stop().unwrap();
    });
    assert_eq!(end, End::Returned);
}

fn without_a_listener_a_notice_of_our_memory_is_noted_and_others_kill() {
    if inject::is_emulated() {
        testing::skip!("qemu-user loses what comes with a signal that a program sends");
    }
    let signal = |code, ours: bool, times| {
        child::run(|| {
            // SAFETY: a valid signal.
            unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
            let memory = seaworthy::install().unwrap();
            let pages = Pages::anonymous(1);
            // SAFETY: the pages outlive the region.
            let region =
                unsafe { Region::new(memory, pages.start(), page(), Permission::Read) }.unwrap();
            let before = seaworthy::notices();
            let address = if ours { region.address() + 5 } else { 0x1000 };
            for _ in 0..times {
                inject::signal(code, address, 12);
            }
            if code == libc::BUS_MCEERR_AO {
                assert_eq!(seaworthy::notices() - before, times);
            }
            assert!(seaworthy::is_armed());
        })
    };
    let died = End::Signal(libc::SIGBUS);
    assert_eq!(signal(libc::BUS_MCEERR_AO, true, 3), End::Returned);
    assert_eq!(signal(libc::BUS_MCEERR_AO, false, 1), died);
    // Action required, at a program counter that is not ours: once it may be late.
    assert_eq!(signal(libc::BUS_MCEERR_AR, true, 1), End::Returned);
    assert_eq!(signal(libc::BUS_MCEERR_AR, true, 2), died);
    assert_eq!(signal(libc::BUS_MCEERR_AR, false, 1), died);
    for code in [libc::BUS_ADRALN, libc::BUS_ADRERR, libc::BUS_OBJERR] {
        assert_eq!(signal(code, true, 1), died);
    }
}

testing::without_threads! {
    poison_is_met_once_and_then_known,
    probing_and_scanning_find_it_untouched,
    healing_replaces_what_is_lost_and_nothing_else,
    what_is_read_only_is_healed_from_below,
    a_listener_hears_and_looks_everywhere,
    a_listener_that_panics_gives_its_place_back,
    without_a_listener_a_notice_of_our_memory_is_noted_and_others_kill,
}
