//! A proposal, measured before it is made: the gate on errors as `core::evidence` has it, but counting clumps of one user's
//! errors once, by the design effect of the errors in 256 cells of users. Windows do not carry these cells today.

use fairway_stats::Cells;
use fairway_stats::odds::{OddsGrid, design_effect};

/// Evidence about errors, with and without the clumps counted once.
#[derive(Clone, Debug)]
pub struct Clumps {
    grid: OddsGrid,
    canary: Cells,
    stable: Cells,
}

impl Clumps {
    /// With the tolerance of the gate.
    pub fn new(tolerance: f64) -> Self {
        Self { grid: OddsGrid::harm(tolerance), canary: Cells::new(), stable: Cells::new() }
    }

    /// A request of a user of `cell`.
    pub fn record(&mut self, on_canary: bool, cell: u8, error: bool) {
        let cells = if on_canary { &mut self.canary } else { &mut self.stable };
        cells.record(cell, f64::from(u8::from(error)));
    }

    /// A window is over.
    pub fn look(&mut self, share: f64, bad_canary: u64, bad_stable: u64) {
        self.grid.update(share, bad_canary, bad_stable);
    }

    /// How far clumps inflate the variance, as far as one can see.
    pub fn design_effect(&self) -> f64 {
        design_effect(&self.canary, &self.stable)
    }

    /// Harm is proved, clumps counted once.
    pub fn rejects(&self, alpha: f64) -> bool {
        self.grid.ln_e_at(self.design_effect()) >= -alpha.ln()
    }
}
