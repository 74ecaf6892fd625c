//! Seeded draws: independent streams from one seed, and drawing an index by weight.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for. Streams of one seed never overlap.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Who the users are and what is on sale at first.
    Founding,
    /// Births, deaths, shifts and changes of taste of one simulated day.
    Day(i64),
    /// Visits and purchases, in the order of the calls.
    Visits,
    /// The sample of latencies.
    Latencies,
}

/// The generator of one stream of `seed`. The world of a day does not depend on how much was bought before it.
pub(crate) fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match stream {
        Stream::Founding => 1 << 62,
        Stream::Visits => 2 << 62,
        Stream::Latencies => 3 << 62,
        // The two highest bits name the purpose; a day takes the other 62.
        Stream::Day(day) => day.cast_unsigned() & ((1 << 62) - 1),
    });
    rng
}

/// Cumulative weights, for drawing an index in logarithmic time.
#[derive(Clone, Debug)]
pub(crate) struct Cumulative(Vec<f64>);

impl Cumulative {
    /// From weights that are finite, not negative, and not all zero.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let ends = weights.into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self(ends.collect())
    }

    /// Weights `1 / rank^exponent` of ranks 1 to `length`.
    pub(crate) fn zipf(length: usize, exponent: f64) -> Self {
        Self::new((1..=length).map(|rank| (rank as f64).powf(-exponent)))
    }

    /// An index, drawn by weight. One number is taken from `rng` whatever comes out.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> usize {
        let total = self.0.last().copied().unwrap_or(0.0);
        let point = rng.random::<f64>() * total;
        self.0.partition_point(|end| *end <= point).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let cumulative = Cumulative::new([1.0, 0.0, 3.0]);
        let mut rng = stream(1, Stream::Visits);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[cumulative.draw(&mut rng)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((7_300..7_700).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn streams_differ() {
        let purposes =
            [Stream::Founding, Stream::Visits, Stream::Latencies, Stream::Day(0), Stream::Day(-1), Stream::Day(1)];
        let mut first: Vec<u64> = purposes.iter().map(|purpose| stream(3, *purpose).random()).collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), purposes.len());
    }
}
