//! Random bytes.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use crate::arch::time;
use crate::sync::SpinLock;

static GENERATOR: SpinLock<Option<ChaCha20Rng>> = SpinLock::new(None);

/// Mixes a seed in: from the firmware, from the CPU, from a program that writes to `/dev/random`.
pub fn add_seed(bytes: &[u8]) {
    let mut generator = GENERATOR.lock();
    let mut seed = [0; 32];
    if let Some(generator) = &mut *generator {
        generator.fill_bytes(&mut seed);
    }
    for (place, byte) in bytes.iter().enumerate() {
        let mixed = &mut seed[place % 32];
        *mixed = mixed.rotate_left(3) ^ byte;
    }
    *generator = Some(ChaCha20Rng::from_seed(seed));
}

/// Fills a buffer. Before the first seed the time is all there is.
pub fn fill(into: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    generator
        .get_or_insert_with(|| ChaCha20Rng::seed_from_u64(time::now()))
        .fill_bytes(into);
}

#[cfg(test)]
mod tests {
    use super::{add_seed, fill};

    #[test]
    fn bytes_differ_each_time() {
        add_seed(b"seed");
        let [mut first, mut second] = [[0; 32]; 2];
        fill(&mut first);
        add_seed(b"seed");
        fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
