//! EASE in closed form (Steck, WWW 2019): G = XᵀX + λI, P = G⁻¹, B_ij = −P_ij / P_jj with a zero diagonal.
//!
//! X is binary: who has an item, not how often. Counts and the inverse are f64, what is served is f32. Counts are whole
//! numbers, so their sum does not depend on any order; the inverse is repeatable for a fixed number of threads.

use std::collections::BTreeMap;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor;
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Accum, Mat, MatMut, Par};
use fairway_model::{Ease, Interactions, Vocabulary};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::parameters::Parameters;
use super::users_of_items;
use crate::error::TrainError;
use crate::progress::{CancelFlag, Progress, Silent};
use crate::split::by_user;

/// Most items: two matrices of f64 are held at once, 6.4 GB at this size.
pub const ITEMS_MAX: usize = 20_000;

/// The parameters of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EaseSettings {
    /// λ. More says: trust only what many users show.
    regularization: f64,
    /// Items with fewer users in training are not known to the model.
    min_users: u32,
}

impl EaseSettings {
    /// `regularization`, `minUsers`.
    pub(super) fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, TrainError> {
        let values = Parameters::of(Ease::FAMILY, parameters, &["regularization", "minUsers"])?;
        Ok(Self {
            regularization: values.number("regularization", 200.0, 1e-6..=1e9)?,
            min_users: values.whole("minUsers", 5, 1..=1_000_000)?,
        })
    }
}

/// Fits EASE on all rows, with items of at least `min_users` different users. `regularization` is λ, above 0.
///
/// # Errors
/// When no item has enough users, or more than [`ITEMS_MAX`] have.
pub fn fit_ease(data: &Interactions, regularization: f64, min_users: u32) -> Result<Ease, TrainError> {
    fit(data, &EaseSettings { regularization, min_users }, &Silent, &CancelFlag::new())
}

pub(super) fn fit(
    data: &Interactions,
    settings: &EaseSettings,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Ease, TrainError> {
    let counts = users_of_items(data);
    let kept: Vec<u32> = (0..counts.len() as u32).filter(|&item| counts[item as usize] >= settings.min_users).collect();
    let n = kept.len();
    match n {
        0 => {
            let most = counts.iter().max().unwrap_or(&0);
            let what = format!("no item has {} users (minUsers), the most that one has is {most}", settings.min_users);
            return Err(TrainError::TooLittle { what, cure: "lower minUsers, or lengthen data.history" });
        }
        n if n > ITEMS_MAX => return Err(TrainError::CatalogueTooLarge { items: n, limit: ITEMS_MAX }),
        _ => {}
    }
    progress.note(&format!("ease: {n} of {} items have {} users", data.items.len(), settings.min_users));
    let go_on = |doing: &str| TrainError::unless_cancelled(cancel, doing);

    let mut matrix = gram(data, &kept, settings.regularization);
    progress.advance(1);
    go_on("factoring the matrix of items")?;
    factorize(matrix.as_mut())?;
    progress.advance(1);
    go_on("inverting the matrix of items")?;
    let mut inverse_of_factor = Mat::<f64>::zeros(n, n);
    let par = Par::rayon(0);
    invert_lower_triangular(inverse_of_factor.as_mut(), matrix.as_ref(), par);
    progress.advance(1);
    go_on("multiplying the inverse factors")?;
    let (lower, upper) = (BlockStructure::TriangularLower, BlockStructure::TriangularUpper);
    let factor = inverse_of_factor.as_ref();
    matmul(matrix.as_mut(), lower, Accum::Replace, factor.transpose(), upper, factor, lower, 1.0, par);
    drop(inverse_of_factor);
    progress.advance(1);
    go_on("dividing by the diagonal")?;
    let items = Vocabulary::from_names(kept.iter().map(|&item| data.items.name(item)));
    Ok(Ease::new(items, weights(matrix))?)
}

/// The lower triangle of XᵀX + λI over the kept items.
fn gram(data: &Interactions, kept: &[u32], regularization: f64) -> Mat<f64> {
    let n = kept.len();
    let mut index = vec![u32::MAX; data.items.len()];
    kept.iter().enumerate().for_each(|(at, &item)| index[item as usize] = at as u32);
    let by_user = by_user(data);
    let mut baskets: Vec<Vec<u32>> = Vec::new();
    let mut users_of: Vec<Vec<u32>> = vec![Vec::new(); n];
    for user in 0..data.users.len() as u32 {
        let rows = by_user.rows(user).iter();
        let mut basket: Vec<u32> = rows.map(|&row| index[data.item[row as usize] as usize]).collect();
        basket.sort_unstable();
        basket.dedup();
        basket.retain(|&item| item != u32::MAX);
        basket.iter().for_each(|&item| users_of[item as usize].push(baskets.len() as u32));
        baskets.push(basket);
    }
    let mut matrix = Mat::<f64>::zeros(n, n);
    let fill = |(item, mut column): (usize, MatMut<'_, f64>)| {
        for &user in &users_of[item] {
            let basket = &baskets[user as usize];
            let from = basket.partition_point(|&other| (other as usize) < item);
            for &other in &basket[from..] {
                column[(other as usize, 0)] += 1.0;
            }
        }
        column[(item, 0)] += regularization;
    };
    matrix.as_mut().par_col_chunks_mut(1).enumerate().for_each(fill);
    matrix
}

/// The lower Cholesky factor, in place.
fn factorize(matrix: MatMut<'_, f64>) -> Result<(), TrainError> {
    let par = Par::rayon(0);
    let scratch = factor::cholesky_in_place_scratch::<f64>(matrix.nrows(), par, faer::Spec::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    let done =
        factor::cholesky_in_place(matrix, factor::LltRegularization::default(), par, stack, faer::Spec::default());
    done.map(|_| ()).map_err(|error| TrainError::Diverged {
        what: format!("the matrix of items cannot be factored ({error:?})"),
        cure: "raise regularization",
    })
}

/// B, row-major, of the lower triangle of P.
fn weights(inverse: Mat<f64>) -> Vec<f32> {
    let n = inverse.nrows();
    let diagonal: Vec<f64> = (0..n).map(|j| inverse[(j, j)]).collect();
    let mut weights = vec![0.0_f32; n * n];
    weights.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
        for (j, weight) in row.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            *weight = (-inverse[(i.max(j), i.min(j))] / diagonal[j]) as f32;
        }
    });
    weights
}

#[cfg(test)]
mod tests {
    use fairway_model::Recommender;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn crowd(users: u32, items: u32, each: u32) -> Interactions {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut rows = Interactions::builder();
        for user in 0..users {
            for time in 0..each {
                let item = random.random_range(0..items).min(random.random_range(0..items));
                rows.push(&user.to_string(), &format!("{item:03}"), i64::from(time), 1.0, None);
            }
        }
        rows.finish()
    }

    /// B by Gauss-Jordan elimination over dense rows.
    fn naive(data: &Interactions, lambda: f64) -> Vec<f64> {
        let n = data.items.len();
        let mut x = vec![vec![0.0; n]; data.users.len()];
        for row in 0..data.len() {
            x[data.user[row] as usize][data.item[row] as usize] = 1.0;
        }
        let mut g = vec![vec![0.0; 2 * n]; n];
        for i in 0..n {
            for j in 0..n {
                g[i][j] = x.iter().map(|row| row[i] * row[j]).sum::<f64>() + if i == j { lambda } else { 0.0 };
            }
            g[i][n + i] = 1.0;
        }
        for pivot in 0..n {
            let scale = g[pivot][pivot];
            g[pivot].iter_mut().for_each(|value| *value /= scale);
            for row in (0..n).filter(|&row| row != pivot) {
                let (factor, by) = (g[row][pivot], g[pivot].clone());
                g[row].iter_mut().zip(by).for_each(|(value, by)| *value -= factor * by);
            }
        }
        let p = |i: usize, j: usize| g[i][n + j];
        (0..n * n).map(|at| (at / n, at % n)).map(|(i, j)| if i == j { 0.0 } else { -p(i, j) / p(j, j) }).collect()
    }

    #[test]
    fn it_is_the_naive_inverse() {
        let data = crowd(60, 23, 9);
        let model = fit_ease(&data, 3.5, 1).unwrap();
        assert_eq!(model.items(), &data.items);
        for (found, expected) in model.weights().iter().zip(naive(&data, 3.5)) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn two_fits_have_the_same_bits() {
        // Large enough for the blocked, parallel code.
        let data = crowd(500, 400, 60);
        let (one, two) = (fit_ease(&data, 10.0, 1).unwrap(), fit_ease(&data, 10.0, 1).unwrap());
        assert!(one.items().len() > 390);
        assert!(one.weights().iter().zip(two.weights()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn rare_items_are_not_known() {
        let mut rows = Interactions::builder();
        for (user, item) in [("ann", "a"), ("bob", "a"), ("ann", "b"), ("ann", "b"), ("bob", "c"), ("ann", "c")] {
            rows.push(user, item, 0, 1.0, None);
        }
        let data = rows.finish();
        let model = fit_ease(&data, 1.0, 2).unwrap();
        assert_eq!(model.items().iter().collect::<Vec<_>>(), ["a", "c"]);
        let error = fit_ease(&data, 1.0, 3).unwrap_err().to_string();
        assert!(error.contains("no item has 3 users") && error.contains("one has is 2"), "{error}");
    }

    #[test]
    fn a_set_flag_stops_it() {
        let cancel = CancelFlag::new();
        cancel.cancel();
        let settings = EaseSettings { regularization: 1.0, min_users: 1 };
        let error = fit(&crowd(10, 5, 3), &settings, &Silent, &cancel).unwrap_err();
        assert!(matches!(error, TrainError::Cancelled(_)));
    }
}
