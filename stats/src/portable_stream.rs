//! The portable random stream of the golden values; only tests use it.

/// `s = (1103515245 s + 12345) mod 2^31`, then `u = s / 2^31`.
pub struct Stream(u64);

impl Stream {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0 = (1_103_515_245 * self.0 + 12_345) % (1 << 31);
        self.0 as f64 / f64::from(1_u32 << 31)
    }

    /// A Poisson draw by inversion; for means up to a few hundred.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        let u = self.uniform();
        let (mut k, mut mass) = (0_u64, (-mean).exp());
        let mut below = mass;
        while u > below && k < 10_000 {
            k += 1;
            mass *= mean / k as f64;
            below += mass;
        }
        k
    }
}

/// The two samples of the drift goldens: 1000 draws `u`, then 800 draws `u^1.2` of the same stream.
pub fn drift_samples() -> (Vec<f64>, Vec<f64>) {
    let mut stream = Stream::new(12_345);
    let a = (0..1000).map(|_| stream.uniform()).collect();
    let b = (0..800).map(|_| stream.uniform().powf(1.2)).collect();
    (a, b)
}

#[test]
fn stream_is_the_reference_stream() {
    let (a, b) = drift_samples();
    assert_eq!(&a[..3], &[0.6551540484651923, 0.30481432331725955, 0.6749606337398291]);
    assert!((a.iter().sum::<f64>() - 496.91074977628887).abs() < 1e-9);
    assert!((b.iter().sum::<f64>() - 368.88166620058996).abs() < 1e-9);
}
