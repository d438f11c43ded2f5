//! CPUs interleaved inside their operations, while memory fails and pages move.

use mm::sim::{RaceCounts, race};

#[test]
fn promises_hold_however_cpus_interleave() {
    let seeds = std::env::var("RACES")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(150);
    let mut counts = RaceCounts::default();
    for seed in 0..seeds {
        match race(seed, 100) {
            Ok(more) => counts += more,
            Err(what) => panic!("seed {seed}: {what}"),
        }
    }
    println!("{counts:?}");
    assert!(counts.injected > 50 && counts.signals > 50 && counts.moved > 50);
    assert!(counts.emptied > 50 && counts.healed > 5);
    assert!(counts.split > 0 && counts.reclaimed > 50 && counts.swaps_ended > 10);
}

#[test]
fn a_seed_means_one_interleaving() {
    let counts = |seed| format!("{:?}", race(seed, 60));
    assert_eq!(counts(7), counts(7));
    assert_ne!(counts(7), counts(8));
}
