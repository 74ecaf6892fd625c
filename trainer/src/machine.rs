//! Where a run works and what it costs: the machine, processor time, and energy where the processor counts it.
//!
//! What it does not do: it estimates nothing from tables of watts. What the system does not tell is `None`. Files are those
//! of Linux: proc(5), and the kernel's `power/powercap` documentation for the counters of energy (RAPL).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairway_registry::provenance::Machine;

/// Where the kernel shows counters of energy.
const POWERCAP: &str = "/sys/class/powercap";
/// How often counters are read: the smallest (64 kJ) goes round after a minute at a thousand watts.
const PERIOD: Duration = Duration::from_secs(30);
/// Most zones that are looked at.
const ZONES_MAX: usize = 1_000;
/// Most bytes of a file that are read; `/proc/cpuinfo` of a large machine has some hundred thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Hundredths of a second are the kernel's unit of processor time for programs, whatever its own is.
const TICKS: f64 = 100.0;

/// This machine, as far as the system tells.
pub(crate) fn machine() -> Machine {
    let text = |path: &str| read(Path::new(path));
    let memory = text("/proc/meminfo").and_then(|text| total_memory(&text));
    // A container's limit; `max` is none.
    let limit = text("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    Machine {
        cpu: text("/proc/cpuinfo").and_then(|text| cpu_model(&text)),
        cores: std::thread::available_parallelism().ok().map(|cores| cores.get() as u64),
        memory_bytes: [memory, limit].into_iter().flatten().min(),
        os: Some(std::env::consts::OS.to_owned()),
        arch: Some(std::env::consts::ARCH.to_owned()),
        ..Machine::default()
    }
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Time that went by, in seconds.
    pub seconds: f64,
    /// Processor time of the whole process, in seconds; `None` where the system does not tell it.
    pub cpu_seconds: Option<f64>,
    /// Energy of all processor packages of the machine, in joules; `None` where it cannot be read.
    pub joules: Option<f64>,
}

impl Spent {
    /// Both together; what is not known of one is not known of both.
    pub(crate) fn and(&self, other: &Spent) -> Spent {
        Spent {
            seconds: self.seconds + other.seconds,
            cpu_seconds: self.cpu_seconds.zip(other.cpu_seconds).map(|(one, two)| one + two),
            joules: self.joules.zip(other.joules).map(|(one, two)| one + two),
        }
    }

    /// What the numbers are, in words.
    pub(crate) fn method(&self) -> String {
        let energy = match self.joules {
            Some(_) => {
                "energy of all processor packages (RAPL), with all else that ran there, without memory and disks"
            }
            None => "no energy: there is no counter of it that this process may read (RAPL)",
        };
        format!("processor time of the whole process while it read data and trained; {energy}")
    }
}

/// Measures a piece of work. Dropped without [`Meter::stop`] it leaves nothing behind.
pub(crate) struct Meter {
    began: Instant,
    cpu_seconds: Option<f64>,
    energy: Option<Sampler>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), cpu_seconds: cpu_seconds(), energy: Sampler::start(Path::new(POWERCAP)) }
    }

    pub(crate) fn stop(self) -> Spent {
        let cpu_seconds = self.cpu_seconds.zip(cpu_seconds()).map(|(before, after)| (after - before).max(0.0));
        Spent { seconds: self.began.elapsed().as_secs_f64(), cpu_seconds, joules: self.energy.and_then(Sampler::stop) }
    }
}

/// A thread that reads the counters so often that none goes round twice unseen.
struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Option<f64>>,
}

impl Sampler {
    /// `None` when there is no counter, or one may not be read.
    fn start(powercap: &Path) -> Option<Self> {
        let mut counters: Vec<Counter> =
            packages(powercap).iter().map(|zone| Counter::open(zone)).collect::<Option<_>>()?;
        if counters.is_empty() {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let work = move || loop {
            // Also when the other end is gone.
            let ends = !matches!(stopped.recv_timeout(PERIOD), Err(mpsc::RecvTimeoutError::Timeout));
            counters.iter_mut().try_for_each(Counter::advance)?;
            if ends {
                return Some(counters.iter().map(|counter| counter.microjoules as f64).sum::<f64>() / 1e6);
            }
        };
        let thread = std::thread::Builder::new().name("energy".to_owned()).spawn(work).ok()?;
        Some(Self { stop, thread })
    }

    /// Joules since the start.
    fn stop(self) -> Option<f64> {
        drop(self.stop);
        self.thread.join().ok().flatten()
    }
}

/// The counter of one processor package.
#[derive(Debug)]
struct Counter {
    file: PathBuf,
    /// After this it begins at zero again.
    range: u64,
    last: u64,
    /// Counted since it was opened.
    microjoules: u64,
}

impl Counter {
    fn open(zone: &Path) -> Option<Self> {
        let file = zone.join("energy_uj");
        let (range, last) = (number(&zone.join("max_energy_range_uj"))?, number(&file)?);
        Some(Self { file, range, last, microjoules: 0 })
    }

    fn advance(&mut self) -> Option<()> {
        let now = number(&self.file)?;
        self.microjoules = self.microjoules.saturating_add(grown(self.last, now, self.range)?);
        self.last = now;
        Some(())
    }
}

/// What a counter has counted between two looks, if it went round once at most. `None` when that makes no sense.
fn grown(before: u64, now: u64, range: u64) -> Option<u64> {
    match now.checked_sub(before) {
        Some(grown) => Some(grown),
        None => range.checked_sub(before)?.checked_add(now),
    }
}

/// The zones of whole processor packages. Their parts (`intel-rapl:0:0`), the whole board (`psys`) and a second view of
/// the same counters (`intel-rapl-mmio`) would be counted twice.
fn packages(powercap: &Path) -> Vec<PathBuf> {
    let Ok(zones) = std::fs::read_dir(powercap) else {
        return Vec::new();
    };
    let is_package = |zone: &PathBuf| {
        let name = zone.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("intel-rapl:"));
        name.is_some_and(|name| !name.contains(':'))
            && read(&zone.join("name")).is_some_and(|name| name.trim().starts_with("package"))
    };
    let mut packages: Vec<PathBuf> =
        zones.take(ZONES_MAX).filter_map(|zone| Some(zone.ok()?.path())).filter(is_package).collect();
    packages.sort();
    packages
}

/// Processor time of this process so far.
fn cpu_seconds() -> Option<f64> {
    cpu_seconds_of(&read(Path::new("/proc/self/stat"))?)
}

/// User and system time in `/proc/<pid>/stat`.
fn cpu_seconds_of(stat: &str) -> Option<f64> {
    // The name in parentheses may hold anything. After it, state is the first, user and system time are the 12th and 13th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || fields.next()?.parse::<u64>().ok().map(|ticks| ticks as f64 / TICKS);
    Some(seconds()? + seconds()?)
}

/// The first `model name` of `/proc/cpuinfo`. Arm has none.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let value = field(cpuinfo, "model name")?;
    (!value.is_empty()).then(|| value.chars().take(200).collect())
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemTotal")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    values.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}

fn number(file: &Path) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

fn read(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read_and_nonsense_is_none() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194304 100 0 0 0 1234 66 0 0 20 0 1 0 5 1000 200";
        assert_eq!(cpu_seconds_of(stat), Some(13.0));
        for bad in ["", "17", "17 (a) S 1 2", "17 (a) S 1 17 17 0 -1 4194304 100 0 0 0 x 66", ")"] {
            assert_eq!(cpu_seconds_of(bad), None, "{bad}");
        }
        assert_eq!(
            cpu_model("processor\t: 0\nmodel name\t: AMD EPYC: 7\nmodel name\t: x\n").as_deref(),
            Some("AMD EPYC: 7")
        );
        assert_eq!(cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        assert_eq!(total_memory("MemTotal:        8052340 kB\nMemFree: 1 kB\n"), Some(8_052_340 * 1_024));
        for bad in ["", "MemTotal: 5", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total_memory(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_counter_may_go_round_once() {
        for (before, now, range, expected) in [
            (5, 12, 100, Some(7)),
            (5, 5, 100, Some(0)),
            (95, 3, 100, Some(8)),
            (0, u64::MAX, u64::MAX, Some(u64::MAX)),
            (200, 3, 100, None),
        ] {
            assert_eq!(grown(before, now, range), expected, "{before} {now} {range}");
        }
    }

    fn zone(powercap: &Path, zone: &str, name: &str, files: &[(&str, &str)]) {
        let dir = powercap.join(zone);
        std::fs::create_dir(&dir).unwrap();
        for (file, text) in [("name", name)].iter().chain(files) {
            std::fs::write(dir.join(file), format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn packages_are_added_and_nothing_is_counted_twice() {
        let dir = tempfile::tempdir().unwrap();
        let counter = [("energy_uj", "900"), ("max_energy_range_uj", "1000")];
        zone(dir.path(), "intel-rapl", "intel-rapl", &[]);
        zone(dir.path(), "intel-rapl:0", "package-0", &counter);
        zone(dir.path(), "intel-rapl:0:0", "core", &counter);
        zone(dir.path(), "intel-rapl:1", "package-1", &counter);
        zone(dir.path(), "intel-rapl:2", "psys", &counter);
        zone(dir.path(), "intel-rapl-mmio:0", "package-0", &counter);
        let found = packages(dir.path());
        assert_eq!(found, ["intel-rapl:0", "intel-rapl:1"].map(|name| dir.path().join(name)));

        let sampler = Sampler::start(dir.path()).unwrap();
        std::fs::write(found[0].join("energy_uj"), "100\n").unwrap();
        std::fs::write(found[1].join("energy_uj"), "950\n").unwrap();
        assert_eq!(sampler.stop(), Some(250e-6));

        // One that cannot be read makes the sum unknown.
        let sampler = Sampler::start(dir.path()).unwrap();
        std::fs::remove_file(found[1].join("energy_uj")).unwrap();
        assert_eq!(sampler.stop(), None);
        assert!(Sampler::start(dir.path()).is_none());
        assert!(Sampler::start(&dir.path().join("nothing")).is_none());
    }

    #[test]
    fn work_is_measured_and_added_up() {
        let spent = Meter::start().stop();
        assert!(spent.seconds >= 0.0 && spent.cpu_seconds.is_none_or(|seconds| seconds >= 0.0));
        let one = Spent { seconds: 1.0, cpu_seconds: Some(2.0), joules: None };
        let two = Spent { seconds: 3.0, cpu_seconds: Some(4.0), joules: Some(5.0) };
        assert_eq!(one.and(&two), Spent { seconds: 4.0, cpu_seconds: Some(6.0), joules: None });
        assert!(one.method().contains("no energy") && two.method().contains("RAPL"));
        let machine = machine();
        assert!(machine.cores.is_some_and(|cores| cores > 0) && machine.arch.is_some());
    }
}
