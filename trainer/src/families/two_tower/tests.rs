//! The exported model against Burn's forward pass, determinism, and that something is learned.

use fairway_model::{ItemTexts, Query, Recommender, Seen};

use super::*;
use crate::progress::Silent;
use crate::sample;

fn features() -> FeatureDefinitions {
    serde_json::from_str(
        r#"{"user": [{"name": "segment", "category": {}}, {"name": "seen", "recency": {"halfLife": "10d"}}],
            "item": [{"name": "description", "text": {"buckets": 64}}, {"name": "range", "category": {}},
                     {"name": "popularity", "rolling": {"window": "30d", "decay": "7d"}}]}"#,
    )
    .unwrap()
}

fn settings() -> TwoTowerSettings {
    let parameters = [("dim", "8"), ("epochs", "6"), ("batchSize", "128"), ("minUsers", "2"), ("learningRate", "0.1")];
    TwoTowerSettings::parse(&parameters.map(|(k, v)| (k.to_owned(), v.to_owned())).into()).unwrap()
}

fn scores(model: &TwoTower, history: &[Seen], segment: Option<&str>) -> Vec<f32> {
    let mut scores = vec![0.0; model.items().len()];
    model.score(&Query { history, segment, now_ms: 0 }, &mut scores);
    scores
}

#[test]
fn the_exported_model_scores_as_burn_does() {
    let (data, items, features) = (sample::interactions(), sample::texts(), features());
    let inputs = Inputs { data: &data, items: &items, features: &features, seed: 5, from: None };
    let kept: Vec<u32> = (0..data.items.len() as u32).collect();
    let mut learner = Learner::new(&settings(), &inputs, &data.items, &kept);
    let examples = Examples::new(&data, &kept, HALF_LIFE_MS);
    let batch = examples.batch(&(0..100).collect::<Vec<u32>>(), 128);
    let before = learner.step(&batch).unwrap();
    for _ in 0..20 {
        learner.step(&batch).unwrap();
    }
    assert!(learner.step(&batch).unwrap() < before);

    let history = [Seen { item: 3, time_ms: 0 }, Seen { item: 7, time_ms: HALF_LIFE_MS }];
    let bags = Bags::of([vec![(3, 1.0 / 3.0), (7, 2.0 / 3.0)]]);
    let rows = learner.user_inputs(&bags, &Bags::of_singles(&[1]));
    let all: Vec<u32> = (0..kept.len() as u32).collect();
    let forward = learner.towers.forward(rows, learner.content.inputs(&all), all.len());
    let vectors = learner.item_vectors(all.len());
    let dot = |vector: &[f32]| vector.iter().zip(&forward.users).map(|(a, b)| a * b).sum::<f32>() / 0.1;
    let expected: Vec<f32> = vectors.chunks_exact(8).map(dot).collect();

    let model = learner.export(&data, data.items.clone(), HALF_LIFE_MS).unwrap();
    let found = scores(&model, &history, Some(data.segments.name(0)));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn two_fits_have_the_same_bits_and_another_seed_has_others() {
    let (data, items, features) = (sample::interactions(), sample::texts(), features());
    let fit = |seed| {
        let inputs = Inputs { data: &data, items: &items, features: &features, seed, from: None };
        super::fit(&settings(), inputs, &Silent, &CancelFlag::new()).unwrap()
    };
    let (one, two, other) = (fit(1), fit(1), fit(2));
    assert_eq!(one.parts(), two.parts());
    assert_ne!(one.parts(), other.parts());
}

#[test]
fn without_features_it_learns_too() {
    let (data, none) = (sample::interactions(), ItemTexts::default());
    let features = FeatureDefinitions::default();
    let inputs = Inputs { data: &data, items: &none, features: &features, seed: 1, from: None };
    let model = super::fit(&settings(), inputs, &Silent, &CancelFlag::new()).unwrap();
    assert_eq!(model.parts().segment_dim, 0);
    // Items of one group are consumed together in the sample.
    let seen = [Seen { item: 0, time_ms: 0 }, Seen { item: sample::GROUPS, time_ms: 0 }];
    let found = scores(&model, &seen, None);
    let mean = |of_group: bool| {
        let chosen =
            found.iter().enumerate().filter(|(item, _)| (*item as u32).is_multiple_of(sample::GROUPS) == of_group);
        let (n, sum) = chosen.fold((0.0, 0.0), |(n, sum), (_, score)| (n + 1.0, sum + score));
        sum / n
    };
    assert!(mean(true) > mean(false), "{} {}", mean(true), mean(false));
}

#[test]
fn a_set_flag_stops_it() {
    let (data, none, features) = (sample::interactions(), ItemTexts::default(), FeatureDefinitions::default());
    let cancel = CancelFlag::new();
    cancel.cancel();
    let inputs = Inputs { data: &data, items: &none, features: &features, seed: 1, from: None };
    let error = super::fit(&settings(), inputs, &Silent, &cancel).unwrap_err();
    assert!(error.to_string().contains("epoch 1"), "{error}");
}

#[test]
fn what_is_begun_from_weights_scores_as_they_do_until_its_first_step() {
    let (data, items, features) = (sample::interactions(), sample::texts(), features());
    let inputs = Inputs { data: &data, items: &items, features: &features, seed: 1, from: None };
    let champion = super::fit(&settings(), inputs, &Silent, &CancelFlag::new()).unwrap();

    // The newer data have an item and a segment that the champion does not know, and both come first; one item is gone.
    let mut rows = fairway_model::Interactions::builder();
    rows.push("new", "! new", 0, 1.0, Some("! new"));
    for row in 0..data.len() {
        let (item, segment) = (data.items.name(data.item[row]), data.segment[row]);
        if item != "059" {
            let segment = (segment != fairway_model::NONE).then(|| data.segments.name(segment));
            rows.push(data.users.name(data.user[row]), item, data.time_ms[row], 1.0, segment);
        }
    }
    let newer = rows.finish();
    let inputs = Inputs { data: &newer, seed: 2, ..inputs };
    let kept: Vec<u32> = (0..newer.items.len() as u32).collect();
    let mut learner = Learner::new(&settings(), &inputs, &newer.items, &kept);
    learner.take_over(warm(&settings(), &features, &champion).unwrap(), &newer.items, &newer.segments);
    let begun = learner.export(&newer, newer.items.clone(), HALF_LIFE_MS * 10 / 30).unwrap();

    let of = |model: &TwoTower, name: &str| model.items().get(name).unwrap();
    let scores_of = |model: &TwoTower, segment| {
        let history = ["003", "007"].map(|name| Seen { item: of(model, name), time_ms: 0 });
        scores(model, &history, segment)
    };
    for segment in [None, Some("fr"), Some("uk"), Some("mars")] {
        let (before, after) = (scores_of(&champion, segment), scores_of(&begun, segment));
        for name in champion.items().iter().filter(|name| *name != "059") {
            let (before, after) = (before[of(&champion, name) as usize], after[of(&begun, name) as usize]);
            assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{name} {segment:?}: {before} {after}");
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_not_begun_from() {
    let (data, none, features) = (sample::interactions(), ItemTexts::default(), FeatureDefinitions::default());
    let inputs = Inputs { data: &data, items: &none, features: &features, seed: 1, from: None };
    let fit = |settings: &TwoTowerSettings, from| {
        super::fit(settings, Inputs { from, ..inputs }, &Silent, &CancelFlag::new()).unwrap()
    };
    let champion = fit(&settings(), None);
    let popular = crate::families::fit_popularity(&data).unwrap();
    assert!(warm(&settings(), &features, &champion).is_ok());
    assert!(warm(&settings(), &features, &popular).unwrap_err().contains("popularity"));
    let wider = TwoTowerSettings { hidden: 33, ..settings() };
    assert!(warm(&wider, &features, &champion).unwrap_err().contains("hidden"));
    let by_segment = super::tests::features();
    assert!(warm(&settings(), &by_segment, &champion).unwrap_err().contains("segments"));
    // As good as none, then; and one that fits makes a difference.
    assert_eq!(fit(&wider, Some(&champion)).parts(), fit(&wider, None).parts());
    assert_ne!(fit(&settings(), Some(&champion)).parts(), champion.parts());
}
