//! Random programs under poison, refused allocations and failing stores.

use mm::sim::{Counts, run, shrink};

fn campaign(seeds: core::ops::Range<u64>, steps: usize) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        match run(seed, steps) {
            Ok(more) => counts += more,
            Err((script, failure)) => {
                let short = shrink(&script);
                panic!("seed {seed}: {failure}\n{short}{:?}", mm::sim::run_script(&short));
            }
        }
    }
    counts
}

#[test]
fn promises_hold_over_random_programs() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let counts = campaign(0..seeds, 400);
    println!("{counts:?}");
    // A run that injects or consumes nothing proves nothing.
    assert!(counts.injected > 100 && counts.consumed > 50);
    assert!(counts.signals > 20 && counts.refused > 50);
}
