//! EASE at the size of Online Retail: fitting beside the linear algebra that it cannot do without, scoring and ranking
//! beside the plainest code that does the same.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::anyhow;
use clap::Parser;
use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, Side};
use fairway_bench::data::{Options, SEED, Shop};
use fairway_bench::report::{self, Spread};
use fairway_model::{Ease, FeatureDefinitions, Query, Recommender, Seen, top_k};
use fairway_trainer::families::{self, Inputs};
use fairway_trainer::{CancelFlag, Silent};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Items of an answer.
const K: usize = 20;
/// Lists of scores that are held at once for ranking.
const LISTS: usize = 256;

/// Fits and scores EASE at the size of Online Retail.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<()> {
    let Command { options } = Command::parse();
    if !options.measures() {
        return Ok(());
    }
    let shop = options.shop()?;
    println!("\nease, {}; {} CPUs, {} rounds\n", shop.what, report::cpus(), options.rounds);
    let model = fitting(&shop, options.rounds)?;
    answering(model.as_ref(), &histories(&shop, model.as_ref()), options.rounds)
}

fn fitting(shop: &Shop, rounds: u32) -> anyhow::Result<Box<dyn Recommender>> {
    // Every item is kept, so that the size is the data's and no filter's.
    let parameters = [("regularization", "200"), ("minUsers", "1")];
    let parameters: BTreeMap<String, String> = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let features = FeatureDefinitions::default();
    let n = shop.interactions.items.len();
    // Symmetric, and definite because its diagonal is greater than the rest of a row. The values do not matter.
    let gram = Mat::from_fn(n, n, |i, j| if i == j { n as f64 } else { ((i + j) % 7) as f64 * 0.1 });
    let mut model = None;
    let mut fit = || {
        model = None;
        let inputs =
            Inputs { data: &shop.interactions, items: &shop.texts, features: &features, seed: SEED, from: None };
        let flag = CancelFlag::new();
        model = Some(families::fit(Ease::FAMILY, &parameters, inputs, &Silent, &flag)?);
        Ok(())
    };
    let mut inverse = || {
        let factor = gram.llt(Side::Lower).map_err(|error| anyhow!("factoring: {error:?}"))?;
        black_box(factor.inverse());
        Ok(())
    };
    let mut product = || {
        black_box(&gram * &gram);
        Ok(())
    };
    let [fit, inverse, product] = report::in_turn(rounds, [&mut fit, &mut inverse, &mut product])?;
    let row = |name: &str, spread: Spread, flops: Option<f64>| {
        let seconds = spread.best.as_secs_f64();
        vec![
            name.to_owned(),
            format!("{seconds:.2}"),
            format!("{:.2}", spread.worst.as_secs_f64()),
            format!("{:.2}", report::ratio(spread.best, inverse.best)),
            flops.map(|flops| format!("{:.1}", flops / seconds / 1e9)).unwrap_or_default(),
        ]
    };
    // Factor, inverse of the factor, and their product: n³/3 each. A full product is 2n³.
    let cubed = (n as f64).powi(3);
    report::print_table(
        &["fitting", "best s", "worst s", "of peer", "GFLOP/s"],
        [
            row("families::fit(\"ease\")", fit, None),
            row(&format!("peer: Cholesky inverse of {n} x {n}, f64, faer"), inverse, Some(cubed)),
            row("      product of two such matrices, faer", product, Some(2.0 * cubed)),
        ],
    );
    let seconds = fit.best.as_secs_f64();
    report::print_bar("a fit under 20 s on 2 cores", &format!("{seconds:.2} s on {}", report::cpus()), seconds < 20.0);
    model.ok_or_else(|| anyhow!("there was no round"))
}

/// What each user has, in the model's numbers.
fn histories(shop: &Shop, model: &dyn Recommender) -> Vec<Vec<Seen>> {
    let data = &shop.interactions;
    let mut histories = vec![Vec::new(); data.users.len()];
    let to_model: Vec<Option<u32>> = data.items.iter().map(|name| model.items().get(name)).collect();
    for row in 0..data.len() {
        if let Some(item) = to_model[data.item[row] as usize] {
            histories[data.user[row] as usize].push(Seen { item, time_ms: data.time_ms[row] });
        }
    }
    for history in &mut histories {
        history.sort_unstable_by_key(|seen| seen.item);
        history.dedup_by_key(|seen| seen.item);
    }
    histories
}

fn answering(model: &dyn Recommender, histories: &[Vec<Seen>], rounds: u32) -> anyhow::Result<()> {
    let n = model.items().len();
    let (mut ours, mut theirs) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    let mut score = || {
        histories.iter().for_each(|history| model.score(&query(history), black_box(&mut ours)));
        Ok(())
    };
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let weights: Vec<f32> = (0..n * n).map(|_| random.random_range(-0.01..0.05)).collect();
    let mut row_by_row = || {
        histories.iter().for_each(|history| add_rows(&weights, history, black_box(&mut theirs)));
        Ok(())
    };
    let lists: Vec<(Vec<f32>, Vec<bool>)> = histories.iter().take(LISTS).map(|history| list(model, history)).collect();
    let (mut best, mut all) = (Vec::new(), Vec::new());
    let mut rank = || {
        for (scores, excluded) in &lists {
            top_k(black_box(scores), |item| excluded[item as usize], K, &mut best);
        }
        Ok(())
    };
    let mut select = || {
        lists.iter().for_each(|(scores, excluded)| select_and_sort(black_box(scores), excluded, &mut all));
        Ok(())
    };
    let works: [&mut dyn FnMut() -> anyhow::Result<()>; 4] = [&mut score, &mut row_by_row, &mut rank, &mut select];
    let [score, row_by_row, rank, select] = report::in_turn(rounds, works)?;
    let row = |name: &str, spread: Spread, peer: Spread, times: usize| {
        let each = |whole| format!("{:.1}", report::micros(whole) / times.max(1) as f64);
        let ratio = format!("{:.2}", report::ratio(spread.best, peer.best));
        vec![name.to_owned(), each(spread.best), each(spread.worst), ratio]
    };
    let users = histories.len();
    let length = histories.iter().map(Vec::len).sum::<usize>() as f64 / users.max(1) as f64;
    report::print_table(
        &["answering, on one core", "best µs/user", "worst", "of peer"],
        [
            row(&format!("score ({length:.0} items in a history, in the mean)"), score, row_by_row, users),
            row("peer: the rows of the matrix added one by one", row_by_row, row_by_row, users),
            row(&format!("top_k (k = {K})"), rank, select, lists.len()),
            row("peer: select_nth_unstable, then a sort of k", select, select, lists.len()),
        ],
    );
    println!();
    Ok(())
}

fn query(history: &[Seen]) -> Query<'_> {
    Query { history, segment: None, now_ms: i64::MAX }
}

/// Scores of one user, and which items are not to be in an answer.
fn list(model: &dyn Recommender, history: &[Seen]) -> (Vec<f32>, Vec<bool>) {
    let n = model.items().len();
    let (mut scores, mut excluded) = (vec![0.0; n], vec![false; n]);
    model.score(&query(history), &mut scores);
    history.iter().for_each(|seen| excluded[seen.item as usize] = true);
    (scores, excluded)
}

/// The plainest scoring.
fn add_rows(weights: &[f32], history: &[Seen], scores: &mut [f32]) {
    scores.fill(0.0);
    let n = scores.len();
    for seen in history {
        let row = &weights[seen.item as usize * n..][..n];
        scores.iter_mut().zip(row).for_each(|(score, weight)| *score += weight);
    }
}

/// The plainest ranking that does not sort everything.
fn select_and_sort(scores: &[f32], excluded: &[bool], all: &mut Vec<(u32, f32)>) {
    all.clear();
    let left = scores.iter().enumerate().filter(|(item, _)| !excluded[*item]);
    all.extend(left.map(|(item, &score)| (item as u32, score)));
    let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if all.len() > K {
        all.select_nth_unstable_by(K, better);
        all.truncate(K);
    }
    all.sort_unstable_by(better);
    black_box(all);
}
