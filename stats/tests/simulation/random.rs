//! Seeded random numbers for the simulation: SplitMix64 (Steele, Lea & Flood 2014), and draws from it.

/// The same seed gives the same numbers on every machine.
pub struct Random(u64);

impl Random {
    /// A stream for each run; both numbers are mixed, since neighbouring states are neighbouring parts of one stream.
    pub fn new(seed: u64, run: u64) -> Self {
        Self(mix(seed ^ mix(run.wrapping_add(1))))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// In (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// Exact: from one success to the next by geometric gaps.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 {
            return 0;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let ln_miss = (-p).ln_1p();
        let (mut at, mut hits) = (0.0, 0);
        loop {
            at += (self.uniform().ln() / ln_miss).floor() + 1.0;
            if at > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
