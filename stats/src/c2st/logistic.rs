//! Logistic regression with a ridge, by Newton's method.
//!
//! Each Newton step is solved by conjugate gradients, which only multiply the Hessian with vectors: time and memory stay
//! linear in rows × columns.

/// A row and whether it belongs to the class that should score high.
pub type Row<'a> = (&'a [f32], bool);

const NEWTON_STEPS: usize = 60;
const HALVINGS: usize = 30;
const CONJUGATE_STEPS: usize = 100;
/// The gradient, relative to the number of rows, at which it stops.
const TOLERANCE: f64 = 1e-9;

/// A fitted regression: standardised columns, weights, and the intercept as the last weight.
pub struct Logistic {
    means: Vec<f64>,
    /// 1 / standard deviation; 0 for a column that does not vary.
    scales: Vec<f64>,
    weights: Vec<f64>,
}

impl Logistic {
    /// Fits `rows`, all of `columns` finite numbers. Without rows of both classes all weights are 0.
    ///
    /// Minimises the summed log-loss plus `ridge / 2` times the squared weights (not the intercept). A ridge that is not
    /// positive and finite counts as 1, since without one separable classes have no answer.
    pub fn fit(rows: &[Row<'_>], columns: usize, ridge: f64) -> Self {
        let ridge = if ridge > 0.0 && ridge.is_finite() { ridge } else { 1.0 };
        let (means, scales) = standardise(rows, columns);
        let mut model = Self { means, scales, weights: vec![0.0; columns + 1] };
        if rows.iter().all(|r| r.1) || !rows.iter().any(|r| r.1) {
            return model;
        }
        let inputs: Vec<f64> = rows.iter().flat_map(|(row, _)| model.standard(row)).collect();
        let problem = Problem { inputs, rows, columns, ridge };
        problem.solve(&mut model.weights);
        model
    }

    /// The log-odds that a row belongs to the high class.
    pub fn score(&self, row: &[f32]) -> f64 {
        self.standard(row).zip(&self.weights).map(|(x, w)| x * w).sum()
    }

    /// The column with the greatest weight, if any has one.
    pub fn strongest(&self) -> Option<usize> {
        let weights = self.weights.iter().take(self.means.len()).map(|w| w.abs());
        let (column, weight) = weights.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (weight > 0.0).then_some(column)
    }

    /// The row in standard deviations from the mean, and a 1 for the intercept.
    fn standard(&self, row: &[f32]) -> impl Iterator<Item = f64> {
        let columns = row.iter().zip(&self.means).zip(&self.scales);
        columns.map(|((&x, mean), scale)| (f64::from(x) - mean) * scale).chain([1.0])
    }
}

fn standardise(rows: &[Row<'_>], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let n = rows.len().max(1) as f64;
    let (mut means, mut squares) = (vec![0.0; columns], vec![0.0; columns]);
    for (row, _) in rows {
        means.iter_mut().zip(*row).for_each(|(mean, &x)| *mean += f64::from(x) / n);
    }
    for (row, _) in rows {
        let off = row.iter().zip(&means).map(|(&x, mean)| f64::from(x) - mean);
        squares.iter_mut().zip(off).for_each(|(square, off)| *square += off * off / n);
    }
    // Rounding leaves a trace of variation in a constant column.
    let varies = |square: f64, mean: f64| square.sqrt() > 1e-12 * mean.abs();
    let scales = squares.iter().zip(&means).map(|(&s, &mean)| if varies(s, mean) { 1.0 / s.sqrt() } else { 0.0 });
    let scales = scales.collect();
    (means, scales)
}

/// The loss to minimise.
struct Problem<'a> {
    /// The standardised rows, each with the 1 of the intercept.
    inputs: Vec<f64>,
    rows: &'a [Row<'a>],
    columns: usize,
    ridge: f64,
}

impl Problem<'_> {
    fn solve(&self, weights: &mut [f64]) {
        let stop = TOLERANCE * self.rows.len() as f64;
        let mut loss = self.loss(weights);
        for _ in 0..NEWTON_STEPS {
            let (gradient, curvature) = self.gradient(weights);
            let size = dot(&gradient, &gradient).sqrt();
            if size <= stop {
                return;
            }
            let step = self.newton_step(&gradient, &curvature);
            // The loss is convex, so that far steps are halved until it falls.
            let mut share = 1.0;
            for _ in 0..HALVINGS {
                let tried: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w - share * s).collect();
                let new = self.loss(&tried);
                if new <= loss + 1e-12 * loss.abs() {
                    (loss, share) = (new, 0.0);
                    weights.copy_from_slice(&tried);
                    break;
                }
                share /= 2.0;
            }
            if share != 0.0 {
                return;
            }
        }
    }

    /// Each row with the log-odds that `weights` give it.
    fn odds<'b>(&'b self, weights: &'b [f64]) -> impl Iterator<Item = (&'b [f64], f64, bool)> {
        let inputs = self.inputs.chunks_exact(self.columns + 1);
        inputs.zip(self.rows).map(|(input, (_, high))| (input, dot(input, weights), *high))
    }

    fn loss(&self, weights: &[f64]) -> f64 {
        // ln(1 + exp(−t)) without overflow.
        let row = |t: f64| (-t.abs()).exp().ln_1p() + (-t).max(0.0);
        let fit: f64 = self.odds(weights).map(|(_, odds, high)| row(if high { odds } else { -odds })).sum();
        let penalised = &weights[..self.columns];
        fit + self.ridge / 2.0 * dot(penalised, penalised)
    }

    /// The gradient, and the curvature p (1 − p) of each row.
    fn gradient(&self, weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut gradient: Vec<f64> = self.penalised(weights).collect();
        let mut curvature = Vec::with_capacity(self.rows.len());
        for (input, odds, high) in self.odds(weights) {
            let p = 1.0 / (1.0 + (-odds).exp());
            curvature.push(p * (1.0 - p));
            add(&mut gradient, p - f64::from(u8::from(high)), input);
        }
        (gradient, curvature)
    }

    /// Solves `Hessian · step = gradient` by conjugate gradients, as exactly as its gradient deserves (Dembo & Steihaug).
    fn newton_step(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let (mut rest, mut direction) = (gradient.to_vec(), gradient.to_vec());
        let mut square = dot(&rest, &rest);
        let relative = (square.sqrt() / self.rows.len() as f64).min(0.1);
        let enough = square * relative * relative;
        for _ in 0..CONJUGATE_STEPS.min(2 * gradient.len()) {
            let mut bent: Vec<f64> = self.penalised(&direction).collect();
            for (input, c) in self.inputs.chunks_exact(self.columns + 1).zip(curvature) {
                add(&mut bent, c * dot(input, &direction), input);
            }
            let along = dot(&direction, &bent);
            if along <= 0.0 || square <= enough {
                break;
            }
            add(&mut step, square / along, &direction);
            add(&mut rest, -square / along, &bent);
            let next = dot(&rest, &rest);
            direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + next / square * *d);
            square = next;
        }
        step
    }

    /// The ridge's part of the product with a vector: nothing for the intercept.
    fn penalised<'b>(&'b self, vector: &'b [f64]) -> impl Iterator<Item = f64> {
        vector.iter().enumerate().map(|(i, v)| if i < self.columns { self.ridge * v } else { 0.0 })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(t, w)| *t += times * w);
}
