//! An epoch of two-tower at the size of Online Retail, beside the same matrix products by Burn, and beside the same loss
//! by Burn's autodiff.
//!
//! A fit has costs beside its epochs (examples, initial weights, item vectors), so fits of one and of two epochs are
//! timed, and an epoch is their difference.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, anyhow};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use fairway_bench::data::{Options, SEED, Shop, first_consumptions};
use fairway_bench::report;
use fairway_model::{FeatureDefinitions, TwoTower};
use fairway_trainer::families::{self, Inputs, TwoTowerSettings};
use fairway_trainer::{CancelFlag, Silent};

/// Steps of a peer that are timed; what they took is scaled to an epoch.
const PEER_STEPS: usize = 50;
/// The segment of users and the description of items.
const FEATURES: &str = r#"{"user": [{"name": "segment", "category": {}}],
    "item": [{"name": "description", "text": {"buckets": 4096}}]}"#;

/// Trains two-tower at the size of Online Retail.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// The shapes of a step.
#[derive(Clone, Copy)]
struct Shapes {
    /// Examples of a step.
    batch: usize,
    /// Different items among them, in the mean.
    items: usize,
    dim: usize,
    hidden: usize,
    temperature: f32,
    /// Steps of an epoch.
    steps: usize,
}

fn main() -> anyhow::Result<()> {
    let Command { options } = Command::parse();
    if !options.measures() {
        return Ok(());
    }
    let shop = options.shop()?;
    let shapes = Shapes::of(&shop)?;
    println!("\ntwo-tower, {}; {} CPUs, {} rounds", shop.what, report::cpus(), options.rounds);
    let Shapes { batch, items, dim, hidden, steps, .. } = shapes;
    println!("{steps} steps an epoch of {batch} examples and {items} items each, dim {dim}, hidden {hidden}\n");
    measure(&shop, shapes, options.rounds)
}

impl Shapes {
    fn of(shop: &Shop) -> anyhow::Result<Self> {
        let settings = TwoTowerSettings::parse(&parameters(1))?;
        let counts = first_consumptions(&shop.interactions);
        let examples: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let batch = settings.batch_size;
        // An item is missing from a batch when each of its examples is another's.
        let present = counts.iter().map(|&count| 1.0 - (1.0 - f64::from(count) / examples).powf(batch as f64));
        Ok(Self {
            batch,
            items: present.sum::<f64>().round() as usize,
            dim: settings.dim,
            hidden: settings.hidden,
            temperature: settings.temperature,
            steps: (examples as usize).div_ceil(batch),
        })
    }

    /// Operations of the matrix products of a step: three of scores, three of each dense layer, 2abc each.
    fn flops(self) -> f64 {
        let scores = self.batch * self.items * self.dim;
        let dense = 2 * self.batch * self.dim * self.hidden + self.items * self.dim * self.dim;
        6.0 * (scores + dense) as f64
    }
}

fn parameters(epochs: u32) -> BTreeMap<String, String> {
    // Every item is kept, so that the size is the data's and no filter's.
    [("epochs", epochs.to_string()), ("minUsers", "1".to_owned())].map(|(key, value)| (key.to_owned(), value)).into()
}

fn measure(shop: &Shop, shapes: Shapes, rounds: u32) -> anyhow::Result<()> {
    let features: FeatureDefinitions = serde_json::from_str(FEATURES).context("the features of this bench")?;
    let fit = |epochs| {
        let flag = CancelFlag::new();
        let inputs =
            Inputs { data: &shop.interactions, items: &shop.texts, features: &features, seed: SEED, from: None };
        black_box(families::fit(TwoTower::FAMILY, &parameters(epochs), inputs, &Silent, &flag)?);
        anyhow::Ok(())
    };
    let (mut one, mut two) = (|| fit(1), || fit(2));
    let mut products = || products(shapes);
    let mut autodiff = || autodiff(shapes);
    let works: [&mut dyn FnMut() -> anyhow::Result<()>; 4] = [&mut one, &mut two, &mut products, &mut autodiff];
    let [one, two, products, autodiff] = report::in_turn(rounds, works)?;
    let scaled = |whole: Duration| whole.mul_f64(shapes.steps as f64 / PEER_STEPS as f64);
    // The difference of two bests, like theirs, is what the code can do; noise could even make it negative.
    let epoch = two.best.saturating_sub(one.best);
    let beside = one.best.saturating_sub(epoch);
    let (products, autodiff) = (scaled(products.best), scaled(autodiff.best));
    let row = |name: &str, took: Duration, computes: bool| {
        let speed = shapes.flops() * shapes.steps as f64 / took.as_secs_f64().max(1e-9) / 1e9;
        let ratio = format!("{:.2}", report::ratio(took, products));
        let speed = if computes { format!("{speed:.1}") } else { String::new() };
        vec![name.to_owned(), format!("{:.2}", took.as_secs_f64()), ratio, speed]
    };
    report::print_table(
        &["training", "best s", "of peer", "GFLOP/s"],
        [
            row("one epoch: a fit of 2 less a fit of 1", epoch, true),
            row("the rest of a fit", beside, false),
            row("peer: the epoch's matrix products, by Burn", products, true),
            row("      its loss and gradients alone, by Burn's autodiff", autodiff, false),
        ],
    );
    println!("fits of 1 epoch took {:.2?} to {:.2?}, of 2 {:.2?} to {:.2?}", one.best, one.worst, two.best, two.worst);
    let seconds = epoch.as_secs_f64();
    let found = format!("{seconds:.2} s on {}", report::cpus());
    report::print_bar("an epoch under 10 s on 2 cores", &found, seconds < 10.0);
    Ok(())
}

/// The matrix products of a step, forwards and backwards, and nothing else.
fn products(shapes: Shapes) -> anyhow::Result<()> {
    let Shapes { batch, items, dim, hidden, .. } = shapes;
    let device = Device::flex();
    let matrix =
        |rows, columns| Tensor::<2>::from_data(TensorData::new(wave(rows * columns), [rows, columns]), &device);
    let (users, vectors, logits) = (matrix(batch, dim), matrix(items, dim), matrix(batch, items));
    let (first, second, inner) = (matrix(dim, hidden), matrix(hidden, dim), matrix(batch, hidden));
    let content = matrix(dim, dim);
    // c = a b, and the gradients of a and b for a gradient of c.
    let layer = |a: &Tensor<2>, b: &Tensor<2>, c: &Tensor<2>| {
        black_box(a.clone().matmul(b.clone()));
        black_box(c.clone().matmul(b.clone().transpose()));
        black_box(a.clone().transpose().matmul(c.clone()));
    };
    for _ in 0..PEER_STEPS {
        layer(&users, &vectors.clone().transpose(), &logits);
        layer(&users, &first, &inner);
        layer(&inner, &second, &users);
        layer(&vectors, &content, &vectors);
    }
    device.sync().map_err(|error| anyhow!("{error}"))
}

/// Softmax cross-entropy of a batch against its items with the gradients of both, as one would write it in Burn.
fn autodiff(shapes: Shapes) -> anyhow::Result<()> {
    let Shapes { batch, items, dim, temperature, .. } = shapes;
    let device = Device::flex().autodiff();
    let leaf = |rows| Tensor::<2>::from_data(TensorData::new(wave(rows * dim), [rows, dim]), &device).require_grad();
    let positives: Vec<i64> = (0..batch).map(|example| (example % items) as i64).collect();
    let positives = Tensor::<2, Int>::from_data(TensorData::new(positives, [batch, 1]), &device);
    for _ in 0..PEER_STEPS {
        let (users, vectors) = (leaf(batch), leaf(items));
        let logits = users.clone().matmul(vectors.clone().transpose()) / temperature;
        let loss = -log_softmax(logits, 1).gather(1, positives.clone()).mean();
        let gradients = loss.backward();
        black_box((users.grad(&gradients), vectors.grad(&gradients)));
    }
    device.sync().map_err(|error| anyhow!("{error}"))
}

/// Numbers of the size of weights, none of them too small for a processor's quick paths.
fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|at| 0.1 + 0.05 * (at as f32 * 0.37).sin()).collect()
}
