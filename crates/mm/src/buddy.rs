//! The buddy allocator: which frames are free, and in blocks of what order.
//!
//! A block of order `n` is `2^n` frames at a multiple of `2^n`. Its free blocks are one bit each
//! in a [`Bitmap`] per order, so that no link is stored anywhere and taking a *given* frame out
//! of the middle of a block needs no search.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Errno, bitmap::Bitmap};

/// Blocks are at most `2^MAX_ORDER` frames: 4 MiB, as in Linux.
pub const MAX_ORDER: usize = 10;

/// The free frames, by index from the first.
#[derive(Debug)]
pub(crate) struct Buddy {
    orders: Vec<Bitmap>,
    frames: usize,
    free: usize,
}

impl Buddy {
    /// An allocator for `frames` frames, none of them free.
    pub(crate) fn new(frames: usize) -> Result<Self, Errno> {
        let mut orders = Vec::new();
        orders
            .try_reserve_exact(MAX_ORDER + 1)
            .map_err(|_| Errno::ENOMEM)?;
        for order in 0..=MAX_ORDER {
            orders.push(Bitmap::new((frames >> order) + 1)?);
        }
        Ok(Self {
            orders,
            frames,
            free: 0,
        })
    }

    /// How many frames are free.
    pub(crate) fn free_frames(&self) -> usize {
        self.free
    }

    /// Whether there is a free block of at least `order`.
    pub(crate) fn has_block(&self, order: usize) -> bool {
        self.orders[order..]
            .iter()
            .any(|blocks| blocks.first().is_some())
    }

    /// How many free blocks of exactly `order` there are.
    pub(crate) fn free_blocks(&self, order: usize) -> usize {
        self.orders[order].len()
    }

    /// Takes the lowest smallest free block of at least `order`; the rest of it stays free.
    pub(crate) fn allocate(&mut self, order: usize) -> Option<usize> {
        let (from, block) = (order..=MAX_ORDER)
            .find_map(|from| self.orders[from].first().map(|block| (from, block)))?;
        self.orders[from].remove(block);
        let frame = block << from;
        for half in order..from {
            self.orders[half].insert((frame >> half) + 1);
        }
        self.free -= 1 << order;
        Some(frame)
    }

    /// Gives back a block, which must not be free.
    pub(crate) fn release(&mut self, frame: usize, order: usize) {
        debug_assert!(frame + (1 << order) <= self.frames && frame.is_multiple_of(1 << order));
        debug_assert!(
            self.order_of(frame).is_none(),
            "frame {frame} is free already"
        );
        self.free += 1 << order;
        let mut block = frame >> order;
        let mut order = order;
        while order < MAX_ORDER && self.orders[order].contains(block ^ 1) {
            self.orders[order].remove(block ^ 1);
            block >>= 1;
            order += 1;
        }
        self.orders[order].insert(block);
    }

    /// Gives these frames back, none of which may be free, in the largest blocks that they make.
    pub(crate) fn release_all(&mut self, frames: Range<usize>) {
        let Range { mut start, end } = frames;
        while start < end {
            let order = (start.trailing_zeros() as usize)
                .min((end - start).ilog2() as usize)
                .min(MAX_ORDER);
            self.release(start, order);
            start += 1 << order;
        }
    }

    /// The order of the free block that holds `frame`, if it is free.
    pub(crate) fn order_of(&self, frame: usize) -> Option<usize> {
        (0..=MAX_ORDER).find(|&order| self.orders[order].contains(frame >> order))
    }

    /// Takes exactly `frame`; the rest of its block stays free. Returns whether it was free.
    pub(crate) fn take(&mut self, frame: usize) -> bool {
        let Some(from) = self.order_of(frame) else {
            return false;
        };
        self.orders[from].remove(frame >> from);
        for half in 0..from {
            self.orders[half].insert((frame >> half) ^ 1);
        }
        self.free -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::{Buddy, MAX_ORDER};

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes")]
    fn everything_given_back_merges_into_the_largest_blocks() {
        let mut buddy = Buddy::new(4096 + 3).unwrap();
        (0..4099).for_each(|frame| buddy.release(frame, 0));
        assert_eq!(buddy.order_of(5), Some(MAX_ORDER));
        assert_eq!(buddy.order_of(4096), Some(1));
        assert_eq!(buddy.order_of(4098), Some(0));
        assert_eq!(buddy.order_of(4099), None);
    }

    proptest! {
        #[test]
        fn a_range_given_back_is_as_each_of_its_frames(
            frames in 1usize..5000, start in 0usize..5000, end in 0usize..5000,
        ) {
            let range = start.min(frames)..end.min(frames);
            let mut whole = Buddy::new(frames).unwrap();
            whole.release_all(range.clone());
            let mut single = Buddy::new(frames).unwrap();
            range.for_each(|frame| single.release(frame, 0));
            prop_assert_eq!(whole.free_frames(), single.free_frames());
            for frame in 0..frames {
                prop_assert_eq!(whole.order_of(frame), single.order_of(frame));
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "takes minutes")]
        fn hands_out_every_frame_once(
            frames in 1usize..3000,
            steps in prop::collection::vec((0usize..4, 0usize..3000, 0usize..=4), 1..300),
        ) {
            let mut buddy = Buddy::new(frames).unwrap();
            (0..frames).for_each(|frame| buddy.release(frame, 0));
            let mut free: BTreeSet<usize> = (0..frames).collect();
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (step, number, order) in steps {
                match step {
                    0 | 1 => if let Some(frame) = buddy.allocate(order) {
                        prop_assert_eq!(frame % (1 << order), 0);
                        for part in frame..frame + (1 << order) {
                            prop_assert!(free.remove(&part), "{} handed out twice", part);
                        }
                        held.push((frame, order));
                    },
                    2 => if !held.is_empty() {
                        let (frame, order) = held.swap_remove(number % held.len());
                        buddy.release(frame, order);
                        free.extend(frame..frame + (1 << order));
                    },
                    _ => {
                        let frame = number % frames;
                        prop_assert_eq!(buddy.take(frame), free.remove(&frame));
                    }
                }
                prop_assert_eq!(buddy.free_frames(), free.len());
            }
            for frame in 0..frames {
                prop_assert_eq!(buddy.order_of(frame).is_some(), free.contains(&frame));
            }
        }
    }
}
