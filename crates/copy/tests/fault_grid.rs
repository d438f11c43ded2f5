//! Exact progress: copies, fills and searches over a grid of sizes, alignments and positions of
//! the first byte that fails, on every variant this CPU can run.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "failing memory, signals and raw pointers")]

mod support;

use seaworthy_copy::extable::Side;

use support::grid::{Bench, Copy, Grid};
use support::runnable;

fn copies(failing: Side) {
    let grid = Grid::new();
    for routines in runnable() {
        for copy in Copy::ALL {
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
fn fills_stop_exactly_where_memory_fails() {
    let grid = Grid::new();
    for routines in runnable() {
        Bench::new().fills(&grid, routines);
    }
}

#[test]
fn searches_end_exactly_where_memory_fails() {
    let grid = Grid::new();
    for routines in runnable() {
        Bench::new().searches(&grid, routines);
    }
}

#[test]
fn pages_fail_whole() {
    for routines in runnable() {
        Bench::new().page_copies(routines);
    }
}
