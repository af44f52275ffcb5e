//! Medians and their spread.

use serde::{Deserialize, Serialize};
use statrs::statistics::{Data, Max as _, Min as _, OrderStatistics as _};

/// Where the values of several rounds lie.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// A quarter is below.
    pub lower_quartile: f64,
    /// A quarter is above.
    pub upper_quartile: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of these values, which are not none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut data = Data::new(values.into_iter().collect::<Vec<_>>());
        Self {
            median: data.median(),
            lower_quartile: data.lower_quartile(),
            upper_quartile: data.upper_quartile(),
            min: data.min(),
            max: data.max(),
        }
    }

    /// Of the ratios of values that were measured in the same rounds: what disturbs a round disturbs both.
    pub fn of_ratios(these: &[f64], those: &[f64]) -> Self {
        Self::of(these.iter().zip(those).map(|(this, that)| this / that))
    }

    /// How far apart the quartiles are, as a share of the median.
    pub fn width(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median
    }
}

/// The value below which this share of the values lies, which are not none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    Data::new(values.to_vec()).quantile(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_moves_no_median() {
        let spread = Spread::of([10.0, 11.0, 9.0, 90.0, 10.0]);
        assert_eq!((spread.median, spread.min, spread.max), (10.0, 9.0, 90.0));
    }

    #[test]
    fn quartiles_enclose_the_median_and_are_enclosed() {
        let spread = Spread::of((1..=9).map(f64::from));
        assert!(spread.min < spread.lower_quartile && spread.lower_quartile < spread.median);
        assert!(spread.median < spread.upper_quartile && spread.upper_quartile < spread.max);
        assert_eq!(spread.median, 5.0);
    }

    #[test]
    fn a_round_that_is_slow_for_both_leaves_the_ratio() {
        let spread = Spread::of_ratios(&[50.0, 100.0, 51.0], &[100.0, 200.0, 102.0]);
        assert_eq!((spread.min, spread.median, spread.max), (0.5, 0.5, 0.5));
        assert_eq!(spread.width(), 0.0);
    }

    #[test]
    fn one_round_has_no_width() {
        let spread = Spread::of([7.0]);
        assert_eq!((spread.median, spread.lower_quartile, spread.upper_quartile), (7.0, 7.0, 7.0));
    }
}
