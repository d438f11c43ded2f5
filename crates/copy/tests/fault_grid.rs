//! Exact progress: copies, fills and searches over a grid of sizes, alignments and positions of
//! the first byte that fails, on every variant this CPU can run.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "failing memory, signals and raw pointers")]

mod support;

use copy::extable::Side;

use support::distinct;
use support::grid::{Bench, Copy, Grid};

fn copies(failing: Side) {
    let grid = Grid::new();
    for copy in Copy::ALL {
        for routines in distinct(copy.name()) {
            let mut bench = Bench::new();
            bench.copies(&grid, routines, copy, failing);
            println!(
                "{} {copy:?}, {failing:?} fails: {} failures, {} took a second signal",
                routines.name(),
                bench.failures,
                bench.repeated
            );
        }
    }
}

#[test]
fn copies_stop_exactly_where_the_source_fails() {
    copies(Side::Source);
}

#[test]
fn copies_stop_exactly_where_the_destination_fails() {
    copies(Side::Destination);
}

#[test]
fn where_the_address_is_known_no_copy_fails_twice() {
    let grid = Grid::sparse();
    for copy in Copy::ALL {
        for routines in distinct(copy.name()) {
            for failing in [Side::Source, Side::Destination] {
                let mut bench = Bench::new();
                bench.session.tell_address(true);
                bench.copies(&grid, routines, copy, failing);
                bench.session.tell_address(false);
                let context = (routines.name(), copy, failing);
                assert!(bench.failures > 0, "{context:?}");
                assert_eq!(bench.repeated, 0, "{context:?}");
            }
        }
    }
}

#[test]
fn fills_stop_exactly_where_memory_fails() {
    let grid = Grid::new();
    for routines in distinct("fill_mc") {
        Bench::new().fills(&grid, routines);
    }
}

#[test]
fn searches_end_exactly_where_memory_fails() {
    let grid = Grid::new();
    for routines in distinct("compare_mc") {
        Bench::new().searches(&grid, routines);
    }
}

#[test]
fn pages_fail_whole() {
    for routines in distinct("copy_mc_page") {
        Bench::new().page_copies(routines);
    }
}
