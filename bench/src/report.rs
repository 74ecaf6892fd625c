//! Measuring in turn, and tables for people.
//!
//! What it does not do: no statistics. The best of a few rounds is what the code can do; the worst says how noisy the
//! machine was.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How long something took, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The quickest round.
    pub best: Duration,
    /// The slowest round.
    pub worst: Duration,
}

/// Runs all works once a round, one after the other, so that a noisy moment meets each of them alike.
///
/// # Errors
/// The first that a work has.
pub fn in_turn<const N: usize>(
    rounds: u32,
    mut works: [&mut dyn FnMut() -> anyhow::Result<()>; N],
) -> anyhow::Result<[Spread; N]> {
    let mut spreads = [Spread { best: Duration::MAX, worst: Duration::ZERO }; N];
    for _ in 0..rounds {
        for (work, spread) in works.iter_mut().zip(&mut spreads) {
            let started = Instant::now();
            work()?;
            let took = started.elapsed();
            *spread = Spread { best: spread.best.min(took), worst: spread.worst.max(took) };
        }
    }
    Ok(spreads)
}

/// Prints a table: the first column to the left, numbers to the right.
pub fn print_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// Prints a bar and whether this run met it. A missed bar fails nothing: the machine may have been busy.
pub fn print_bar(bar: &str, found: &str, met: bool) {
    let word = if met { "met" } else { "MISSED" };
    println!("bar: {bar}; here {found}: {word}\n");
}

/// How many CPUs there are to compute on.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `a` over `b`.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-12)
}

/// Microseconds, with their fraction.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Whether to measure anything, which `cargo bench` asks for by `--bench`. Without it the reader is told.
pub fn measures(bench: bool) -> bool {
    if !bench {
        println!("nothing is measured without --bench; use `cargo bench -p fairway-bench`");
    }
    bench
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_take_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let mut one = || {
            order.borrow_mut().push(1);
            Ok(())
        };
        let mut two = || {
            order.borrow_mut().push(2);
            Ok(())
        };
        let spreads = in_turn(2, [&mut one, &mut two]).unwrap();
        assert_eq!(*order.borrow(), [1, 2, 1, 2]);
        assert!(spreads.iter().all(|spread| spread.best <= spread.worst));
        assert!(in_turn(1, [&mut || anyhow::bail!("no")]).is_err());
    }
}
