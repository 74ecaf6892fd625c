//! Simulated windows of normal features on decile bins, judged by the drift rule: how often does it alarm?
//!
//! Nothing is approximated: the edges have the law of the deciles of n normals (normalised gamma spacings), and counts
//! the law of n normals on those edges (a multinomial, drawn by binomials). So a window of five million events costs no
//! more than one of five hundred.

use fairway_stats::Persistence;
use fairway_stats::drift::{DriftRule, FeatureCounts, assess};
use statrs::distribution::{ContinuousCDF, Normal};

const BINS: usize = 10;
/// Windows that are judged against one draw of the profile; then another model is trained.
pub const WINDOWS_A_PROFILE: u32 = 20;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Events at training, and in each window.
    pub n: u64,
    /// Features, each independent of the others.
    pub features: usize,
    /// How far the mean of every feature has moved, in standard deviations.
    pub shift: f64,
    /// The rule.
    pub rule: DriftRule,
}

/// How many of `windows` windows did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub windows: u32,
    /// The model alarmed.
    pub alarms: u32,
    /// The model had alarmed in two of the last three windows (which the first window of a profile cannot have).
    pub lasting: u32,
    /// Some feature alarmed.
    pub feature_alarms: u32,
    /// Some feature warned.
    pub warnings: u32,
    /// Some feature's chi-square p-value was below .05: what a user without the rule would see.
    pub any_p: u32,
}

/// Judges `windows` windows.
pub fn rates(setting: &Setting, windows: u32, seed: u64) -> Rates {
    let mut random = Random(seed);
    let mut rates = Rates { windows, ..Rates::default() };
    let mut persistence = Persistence::default();
    let mut shares = Vec::new();
    let reference: Vec<u64> = (0..BINS as u64).map(|i| (setting.n * (i + 1)) / 10 - (setting.n * i) / 10).collect();
    for window in 0..windows {
        if window % WINDOWS_A_PROFILE == 0 {
            shares = (0..setting.features).map(|_| profile(&mut random, setting)).collect();
            persistence = Persistence::default();
        }
        let current: Vec<Vec<u64>> = shares.iter().map(|shares| multinomial(&mut random, setting.n, shares)).collect();
        let counts = current.iter().map(|current| FeatureCounts {
            name: "simulated",
            is_score: false,
            reference: &reference,
            current,
        });
        let report = assess(&setting.rule, &counts.collect::<Vec<_>>());
        persistence.push(report.alarm);
        rates.alarms += u32::from(report.alarm);
        rates.lasting += u32::from(persistence.holds());
        rates.feature_alarms += u32::from(report.features.iter().any(|f| f.alarming));
        rates.warnings += u32::from(report.features.iter().any(|f| f.warning));
        rates.any_p += u32::from(report.features.iter().any(|f| f.p < 0.05));
    }
    rates
}

/// The whole table, as lines of Markdown: per thousand windows, at every size, for one and for fifty features.
///
/// In full: 1000 windows and sizes from 500 to 5 000 000 (seconds with optimisation).
#[allow(dead_code, reason = "for the bench, which has the time")]
pub fn table(windows: u32, sizes: &[u64]) -> Vec<String> {
    let mut lines = vec![
        "| n | features | shift (sd) | model alarms | lasting (2 of 3) | any feature alarms | any warns | any p < .05 |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for &n in sizes {
        for features in [1, 50] {
            for shift in [0.0, 0.02, 0.3, 0.6] {
                let setting = Setting { n, features, shift, rule: DriftRule::default() };
                let r = rates(&setting, windows, n + features as u64);
                let cells = [r.alarms, r.lasting, r.feature_alarms, r.warnings, r.any_p];
                let cells = cells.map(|count| format!("{:.0}", f64::from(count) * 1000.0 / f64::from(windows)));
                lines.push(format!("| {n} | {features} | {shift} | {} |", cells.join(" | ")));
            }
        }
    }
    lines
}

/// The shares of shifted values in the bins of one draw of the profile.
fn profile(random: &mut Random, setting: &Setting) -> Vec<f64> {
    let spacings: Vec<f64> = (0..BINS).map(|_| random.gamma(setting.n as f64 / BINS as f64)).collect();
    let all: f64 = spacings.iter().sum();
    let normal = Normal::standard();
    let mut below = 0.0;
    let mut cumulative: Vec<f64> = spacings[..BINS - 1]
        .iter()
        .map(|spacing| {
            below += spacing / all;
            normal.cdf(normal.inverse_cdf(below) - setting.shift)
        })
        .collect();
    cumulative.insert(0, 0.0);
    cumulative.push(1.0);
    cumulative.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn multinomial(random: &mut Random, n: u64, shares: &[f64]) -> Vec<u64> {
    let (mut left, mut share_left) = (n, 1.0);
    let mut counts: Vec<u64> = shares[..shares.len() - 1]
        .iter()
        .map(|share| {
            let count = random.binomial(left, (share / share_left).clamp(0.0, 1.0));
            left -= count;
            share_left -= share;
            count
        })
        .collect();
    counts.push(left);
    counts
}

/// SplitMix64 (Steele, Lea & Flood 2014) and what is drawn from it.
struct Random(u64);

impl Random {
    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// Marsaglia & Tsang 2000; for a shape of at least 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// By halves at a median of the uniforms that are counted (Devroye 1986, X.4.3).
    fn binomial(&mut self, mut n: u64, mut p: f64) -> u64 {
        let mut count = 0;
        while n > 30 {
            let (low, high) = (1 + n / 2, n - n / 2);
            let (x, y) = (self.gamma(low as f64), self.gamma(high as f64));
            let median = x / (x + y);
            if median <= p {
                count += low;
                (n, p) = (high - 1, (p - median) / (1.0 - median));
            } else {
                (n, p) = (low - 1, p / median);
            }
        }
        count + (0..n).filter(|_| self.uniform() < p).count() as u64
    }
}
