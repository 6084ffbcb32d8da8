//! The outline of a sound, for drawing it small.

/// The highest sample, from 0 to 1, of each of `count` stretches of equal length. Fewer where
/// there are fewer samples.
#[must_use]
pub fn peaks(samples: &[f32], count: usize) -> Vec<f32> {
    let stretch = samples.len().div_ceil(count.max(1)).max(1);
    let highest = |stretch: &[f32]| stretch.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    samples.chunks(stretch).map(|stretch| highest(stretch).min(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_gives_its_highest_sample() {
        assert_eq!(peaks(&[0.1, -0.5, 0.2, 0.3, 2.0], 3), [0.5, 0.3, 1.0]);
        assert!(peaks(&[], 3).is_empty());
    }
}
