//! Two bad candidates, made from the champion's own bundle the way real pipelines break: ids that no longer belong to
//! their weights, and weights that diverged. Both load, and both reproduce their own golden answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use fairway_model::{Bundle, Ease, GoldenRequest, Recommender, Vocabulary};
use fairway_registry::{ModelLog, Reference, Registration};
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Makes a bad model of a good one.
pub type Make = fn(&Ease) -> Result<Ease>;

/// The champion's weights with the columns dealt out anew: each item gets the score of another one.
pub fn with_shuffled_items(good: &Ease) -> Result<Ease> {
    let n = good.items().len();
    let mut dealt: Vec<usize> = (0..n).collect();
    dealt.shuffle(&mut StdRng::seed_from_u64(1));
    let mut weights = vec![0.0; n * n];
    for (row, shuffled) in good.weights().chunks_exact(n).zip(weights.chunks_exact_mut(n)) {
        for (column, score) in row.iter().enumerate() {
            shuffled[dealt[column]] = *score;
        }
    }
    Ok(Ease::new(good.items().clone(), weights)?)
}

/// The champion's weights as a diverged training leaves them: not numbers.
pub fn without_numbers(good: &Ease) -> Result<Ease> {
    let n = good.items().len();
    Ok(Ease::new(good.items().clone(), vec![f32::NAN; n * n])?)
}

/// Registers a bad candidate as `@challenger`, as a pipeline outside of Fairway does. The same name again gives the
/// version that is there.
///
/// # Errors
/// There is no champion of the family `ease`, or the registry cannot be written.
pub async fn register(log: &ModelLog, name: &str, make: Make, work: &Path, now: Timestamp) -> Result<u64> {
    let run = format!("story-{name}");
    if let Some(version) = log.head().await?.and_then(|entry| entry.state.by_run(&run).map(|version| version.number)) {
        return Ok(version);
    }
    let champion = log.resolve(&Reference::alias("champion")).await.context("the story needs a champion")?;
    let folder = log.fetch(&champion.digest, &work.join("champion")).await?;
    let bad = work.join(name);
    let made = {
        let bad = bad.clone();
        let run = run.clone();
        tokio::task::spawn_blocking(move || write(&folder, &bad, make, &run)).await?
    };
    made?;
    let registration = Registration {
        run,
        actor: "story".to_owned(),
        time: now,
        metrics: BTreeMap::new(),
        labels: BTreeMap::from([("family".to_owned(), "ease".to_owned())]),
        provenance: serde_json::json!({"trigger": name, "parent": champion.digest}),
        kinds: BTreeSet::new(),
        alias: Some("challenger".to_owned()),
        reason: format!("a {name} candidate, brought in by the story"),
    };
    Ok(log.register(&bad, registration).await?.number)
}

fn write(champion: &Path, bad: &Path, make: Make, run: &str) -> Result<()> {
    let bundle = Bundle::load(champion)?;
    if bundle.manifest.family != Ease::FAMILY {
        bail!("the story spoils models of the family ease; the champion is {}", bundle.manifest.family);
    }
    let good = Ease::read(champion, bundle.recommender.items().clone())?;
    let spoiled = make(&good)?;
    let nobody = Vocabulary::from_names(Vec::<String>::new());
    let golden = GoldenRequest::invent(spoiled.items(), &nobody, 8, 1);
    if bad.exists() {
        std::fs::remove_dir_all(bad).with_context(|| format!("removing {}", bad.display()))?;
    }
    let manifest = fairway_model::BundleManifest { run: run.to_owned(), ..bundle.manifest };
    Ok(Bundle::write(bad, manifest, &spoiled, &bundle.profile, &golden)?)
}
