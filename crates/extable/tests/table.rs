//! Tables against a linear search, sorted where they lie, moved, and broken on purpose.

use std::sync::Mutex;

use extable::{
    Abort, Access, Cause, Direction, Entry, Fixup, Full, Kind, Malformed, OutOfReach, Table,
    Tables, sort,
};
use proptest::prelude::*;

const KINDS: [Kind; 3] = [Kind::USER_ACCESS, Kind::KERNEL_ACCESS, Kind::USER_COPY];

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 8 } else { 512 };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn data(kind: Kind) -> u16 {
    if kind == Kind::USER_COPY {
        return 2;
    }
    Access::Single {
        direction: Direction::Load,
        base: None,
        offset: 0,
        width: 1,
    }
    .encode()
    .unwrap()
}

/// What an entry should say, in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Model {
    instruction: usize,
    fixup: usize,
    kind: Kind,
}

/// Distances from the table, all different, with a kind each.
fn models() -> impl Strategy<Value = Vec<(i32, i32, Kind)>> {
    let targets =
        prop::collection::btree_map(-40_000..40_000_i32, (any::<i16>(), 0..3_usize), 0..60);
    targets
        .prop_map(|map| map.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|list| {
            list.into_iter()
                .map(|(at, (fixup, kind))| (at, i32::from(fixup), KINDS[kind]))
                .collect()
        })
}

/// A table in memory that names the given distances from its start.
fn build(models: &[(i32, i32, Kind)]) -> (Vec<Entry>, Vec<Model>) {
    let mut entries: Vec<Entry> = models
        .iter()
        .map(|_| Entry::from_bytes([0; Entry::SIZE]))
        .collect();
    let origin = entries.as_ptr().addr();
    let mut expected = Vec::new();
    for (entry, &(instruction, fixup, kind)) in entries.iter_mut().zip(models) {
        let model = Model {
            instruction: origin.wrapping_add_signed(instruction as isize),
            fixup: origin.wrapping_add_signed(fixup as isize),
            kind,
        };
        entry
            .point(model.instruction, model.fixup, kind, data(kind))
            .unwrap();
        expected.push(model);
    }
    (entries, expected)
}

fn same(fixup: Fixup, model: &Model) -> bool {
    (fixup.instruction, fixup.landing_pad, fixup.kind)
        == (model.instruction, model.fixup, model.kind)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn search_agrees_with_a_linear_search(models in models(), probes in prop::collection::vec(-41_000..41_000_i32, 40)) {
        let (mut entries, expected) = build(&models);
        sort(&mut entries).unwrap();
        let origin = entries.as_ptr().addr();
        let table = Table::new(&entries).unwrap();
        let probes = probes.iter().map(|&at| origin.wrapping_add_signed(at as isize));
        for pc in probes.chain(expected.iter().map(|model| model.instruction)) {
            let oracle = expected.iter().find(|model| model.instruction == pc);
            prop_assert_eq!(table.covering(pc).is_some(), oracle.is_some());
            for cause in [Cause::Fault, Cause::MemoryError] {
                let found = table.find(pc, &Abort::new(cause, 12));
                let excused = oracle.filter(|model| {
                    model.kind == Kind::USER_ACCESS || cause == Cause::MemoryError
                });
                prop_assert_eq!(found.is_some(), excused.is_some());
                if let (Some(found), Some(model)) = (found, excused) {
                    prop_assert!(same(found, model));
                }
            }
        }
    }

    #[test]
    fn sorting_keeps_what_every_entry_names(models in models()) {
        let (mut entries, mut expected) = build(&models);
        sort(&mut entries).unwrap();
        expected.sort_by_key(|model| model.instruction);
        let table = Table::new(&entries).unwrap();
        prop_assert_eq!(table.len(), expected.len());
        prop_assert!(table.iter().zip(&expected).all(|(fixup, model)| same(fixup, model)));
    }

    #[test]
    fn a_copy_sorted_elsewhere_names_the_same(models in models()) {
        let (entries, mut expected) = build(&models);
        let mut copy: Vec<Entry> =
            entries.iter().map(|entry| Entry::from_bytes(entry.to_bytes())).collect();
        sort(&mut copy).unwrap();
        let bias = entries.as_ptr().addr().wrapping_sub(copy.as_ptr().addr()).cast_signed();
        let table = Table::moved(&copy, bias).unwrap();
        expected.sort_by_key(|model| model.instruction);
        prop_assert!(table.iter().zip(&expected).all(|(fixup, model)| same(fixup, model)));
    }

    #[test]
    fn no_bytes_make_a_table_panic(bytes in prop::collection::vec(any::<[u8; Entry::SIZE]>(), 0..20), pc: usize) {
        let mut entries: Vec<Entry> = bytes.iter().map(|&bytes| Entry::from_bytes(bytes)).collect();
        if sort(&mut entries).is_err() {
            let unchanged = entries.iter().map(Entry::to_bytes).eq(bytes.iter().copied());
            prop_assert!(unchanged);
        }
        if let Ok(table) = Table::new(&entries) {
            let _ = table.find(pc, &Abort::new(Cause::Fault, 200));
            let _ = table.within(0..pc);
            let _ = format!("{table:?}");
        }
        let _ = format!("{entries:?}");
    }
}

#[test]
fn each_broken_rule_is_named_with_its_entry() {
    let user = Kind::USER_ACCESS;
    let refused = |models: &[(i32, i32, Kind)]| Table::new(&build(models).0).unwrap_err();
    assert_eq!(
        refused(&[(4, 0, user), (8, 0, user), (0, 0, user)]),
        Malformed::Unsorted { index: 2 }
    );
    assert_eq!(
        refused(&[(4, 0, user), (4, 9, user)]),
        Malformed::Duplicate { index: 1 }
    );
    let unknown = Malformed::UnknownKind {
        index: 0,
        kind: Kind(77),
    };
    assert_eq!(refused(&[(4, 0, Kind(77))]), unknown);
    assert_eq!(
        unknown.to_string(),
        "malformed exception table: entry 0 has unknown Kind(77)"
    );

    let (mut entries, _) = build(&[(0, 0, user)]);
    let here = entries.as_ptr().addr();
    entries[0].point(here, here, user, 3).unwrap();
    assert_eq!(
        Table::new(&entries).unwrap_err(),
        Malformed::BadAccess { index: 0, data: 3 }
    );
    // A `UserCopy` entry must describe a copy, or its direction would be unknown.
    entries[0]
        .point(here, here, Kind::USER_COPY, data(user))
        .unwrap();
    assert!(matches!(
        Table::new(&entries),
        Err(Malformed::BadAccess { index: 0, .. })
    ));
}

#[test]
fn addresses_outside_the_text_are_refused() {
    let (entries, expected) = build(&[(16, 400, Kind::USER_ACCESS)]);
    let origin = expected[0].instruction - 16;
    let table = Table::new(&entries).unwrap();
    assert!(table.within(origin..origin + 401).is_ok());
    let outside = |address| Some(Malformed::OutsideText { index: 0, address });
    assert_eq!(
        table.within(origin..origin + 400).err(),
        outside(origin + 400)
    );
    assert_eq!(
        table.within(origin + 17..origin + 500).err(),
        outside(origin + 16)
    );
}

#[test]
fn a_sort_that_would_overflow_changes_nothing() {
    for (first, second) in [(i32::MAX, 0), (0, i32::MAX), (i32::MIN, 1), (1, i32::MIN)] {
        let bytes = [first.to_le_bytes(), second.to_le_bytes(), [1, 0, 0, 0]].concat();
        let entry = || Entry::from_bytes(bytes.as_slice().try_into().unwrap());
        let mut entries = [entry(), entry(), entry()];
        assert_eq!(sort(&mut entries), Err(OutOfReach));
        for entry in &entries {
            assert_eq!(entry.to_bytes().as_slice(), bytes);
        }
    }
}

#[test]
fn tables_come_and_go() {
    static KEPT: Mutex<Vec<&'static Table<'static>>> = Mutex::new(Vec::new());
    fn table(at: i32) -> (&'static Table<'static>, usize) {
        let (entries, expected) = build(&[(at, 0, Kind::USER_ACCESS)]);
        let table = Table::new(entries.leak()).unwrap();
        let table = Box::leak(Box::new(table));
        KEPT.lock().unwrap().push(table);
        (table, expected[0].instruction)
    }
    let abort = Abort::new(Cause::Fault, 12);
    let tables = Tables::<2>::new();
    let ((one, pc_one), (two, pc_two), (three, _)) = (table(16), table(32), table(48));
    assert!(tables.find(pc_one, &abort).is_none());
    tables.register(one).unwrap();
    tables.register(two).unwrap();
    assert_eq!(tables.register(three), Err(Full));
    assert!(tables.find(pc_one, &abort).is_some() && tables.find(pc_two, &abort).is_some());
    assert!(tables.unregister(one));
    assert!(!tables.unregister(one));
    assert!(tables.find(pc_one, &abort).is_none() && tables.find(pc_two, &abort).is_some());
    tables.register(three).unwrap();
    assert_eq!(tables.iter().count(), 2);
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = Table::new(&[]).unwrap();
    assert!(table.is_empty());
    assert_eq!(table.find(0x1000, &Abort::new(Cause::MemoryError, 6)), None);
}
