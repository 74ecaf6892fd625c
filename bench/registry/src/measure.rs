//! How long something took, and how much memory a process had at its peak.
//!
//! What it does not do: no statistics but the median, the best and the worst.

use std::time::Duration;

/// How long something took, over all rounds.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    seconds: Vec<f64>,
}

impl Rounds {
    /// Adds a round.
    pub fn add(&mut self, took: Duration) {
        self.seconds.push(took.as_secs_f64());
        self.seconds.sort_by(f64::total_cmp);
    }

    /// The median, in seconds; of an even number of rounds the mean of the middle two. Not a number without rounds.
    pub fn median(&self) -> f64 {
        let (half, odd) = (self.seconds.len() / 2, self.seconds.len() % 2 == 1);
        match (half, odd) {
            (0, false) => f64::NAN,
            (_, true) => self.seconds[half],
            (_, false) => f64::midpoint(self.seconds[half - 1], self.seconds[half]),
        }
    }

    /// The quickest round, in seconds.
    pub fn best(&self) -> f64 {
        self.seconds.first().copied().unwrap_or(f64::NAN)
    }

    /// The slowest round, in seconds.
    pub fn worst(&self) -> f64 {
        self.seconds.last().copied().unwrap_or(f64::NAN)
    }
}

/// The most memory that this process ever had resident, in bytes (`VmHWM`; Linux, proc_pid_status(5)).
///
/// # Errors
/// Not on Linux.
pub fn peak_memory() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| std::io::Error::other("/proc/self/status has no VmHWM, as it has on Linux"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut rounds = Rounds::default();
        assert!(rounds.median().is_nan() && rounds.best().is_nan());
        for (seconds, median) in [(5, 5.0), (1, 3.0), (2, 2.0), (9, 3.5)] {
            rounds.add(Duration::from_secs(seconds));
            assert_eq!(rounds.median(), median);
        }
        assert_eq!((rounds.best(), rounds.worst()), (1.0, 9.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_counted_once_it_is_touched() {
        let before = peak_memory().unwrap();
        std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_memory().unwrap() >= before + (32 << 20));
    }
}
