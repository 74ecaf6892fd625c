//! CPU time by thread, from Linux's scheduler: who did the work of a run, whatever else the machine did.
//!
//! What it does not do: other systems. Time that a hypervisor stole is in here, since a guest cannot see it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// The number that the kernel gave to a thread.
pub type ThreadId = u64;

/// The number of the thread that asks.
///
/// # Errors
/// Not on Linux.
pub fn this_thread() -> io::Result<ThreadId> {
    let link = fs::read_link("/proc/thread-self")?;
    let number = link.file_name().and_then(|name| name.to_str()?.parse().ok());
    number.ok_or_else(|| io::Error::other("/proc/thread-self is not what it is on Linux"))
}

/// CPU time of the thread that asks, in user code and in the kernel for it.
///
/// # Errors
/// Not on Linux, or on one without statistics of its scheduler.
pub fn of_this_thread() -> io::Result<Duration> {
    read("/proc/thread-self/schedstat")
}

/// CPU time of all threads that run now.
///
/// # Errors
/// As [`of_this_thread`].
pub fn of_threads() -> io::Result<BTreeMap<ThreadId, Duration>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match read(&format!("/proc/self/task/{id}/schedstat")) {
            Ok(time) => drop(times.insert(id, time)),
            // It ended meanwhile. The kernel says one or the other, by how far it got.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(times)
}

/// "No such process", in Linux's numbers.
const ESRCH: i32 = 3;

/// The first number of a schedstat is the time on a CPU in nanoseconds (Linux, Documentation/scheduler/sched-stats).
fn read(path: &str) -> io::Result<Duration> {
    let text = fs::read_to_string(path)?;
    let nanos = text.split_whitespace().next().and_then(|number| number.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| io::Error::other(format!("{path} does not begin with a number")))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_for_the_thread_that_does_it() {
        let id = this_thread().unwrap();
        let before = of_this_thread().unwrap();
        // The kernel brings the number up to date at each tick, so work on until it moves.
        while of_this_thread().unwrap() == before {
            std::hint::black_box((0..10_000_u64).sum::<u64>());
        }
        assert!(of_threads().unwrap()[&id] > before);
        let other = std::thread::spawn(this_thread).join().unwrap().unwrap();
        assert_ne!(other, id);
    }
}
