//! Order statistics: on a machine that others use too, means measure the others.

/// Samples in ascending order.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    /// # Panics
    ///
    /// If there are no samples: a caller that measured nothing has nothing to report.
    pub(crate) fn new(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "no samples");
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The value below which `fraction` (0 to 1) of the samples lie, linear between the two
    /// nearest.
    pub(crate) fn quantile(&self, fraction: f64) -> f64 {
        let position = fraction * (self.0.len() - 1) as f64;
        let (below, above) = (position.floor(), position.ceil());
        let (low, high) = (self.0[below as usize], self.0[above as usize]);
        low + (high - low) * (position - below)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// The median of `ours / theirs`, taken round by round: what disturbs a whole round cancels out.
pub(crate) fn ratio_median(ours: &[f64], theirs: &[f64]) -> f64 {
    Sorted::new(ours.iter().zip(theirs).map(|(a, b)| a / b).collect()).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_samples() {
        let odd = Sorted::new(vec![30.0, 10.0, 20.0]);
        assert_eq!(
            [0.0, 0.25, 0.5, 1.0].map(|f| odd.quantile(f)),
            [10.0, 15.0, 20.0, 30.0]
        );
        assert_eq!(Sorted::new(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(Sorted::new(vec![7.0]).quantile(0.99), 7.0);
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        assert_eq!(Sorted::new(vec![1.0, 1.0, 1.0, 1e9, 1.0]).median(), 1.0);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // A rival that always takes twice as long, on a machine that slows down tenfold.
        let ours = [1.0, 1.0, 10.0, 10.0];
        let theirs = [2.0, 2.0, 20.0, 20.0];
        assert_eq!(ratio_median(&ours, &theirs), 0.5);
        // The ratio of the medians would be 1.0 here.
        assert_eq!(ratio_median(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0]), 1.5);
    }
}
