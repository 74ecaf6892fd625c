//! The record of where a bundle comes from, which the registry keeps as `provenance.json`.
//!
//! What it does not do: it names no user, and no password of a source.

use std::collections::BTreeMap;

use fairway_model::BundleManifest;
use fairway_registry::provenance::{
    Code, DataSection, Energy, Features, Parent, Provenance, Refit, Source, TimeWindow, Training, Trigger,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Sanity, Served, Stopwatch};
use crate::data::{Data, Origin};
use crate::evaluate::Evaluation;
use crate::fingerprint;
use crate::machine::machine;
use crate::plan::{self, TrainingPlan};

/// Longest word that the environment may add to the record, in bytes.
const TOLD_MAX: usize = 200;

/// The record of where a bundle comes from.
pub(crate) fn provenance(
    plan: &TrainingPlan,
    data: &Data,
    served: &Served<'_>,
    evaluation: &Evaluation,
    sanity: &Sanity,
    watch: Stopwatch,
) -> Provenance {
    let spent = watch.meter.stop().and(&data.reading);
    let mut timings = watch.seconds;
    timings.insert("read".to_owned(), data.reading.seconds);
    Provenance {
        features: Some(Features {
            digest: Some(plan.features.digest()),
            definitions: section(&plan.features),
            ..Features::default()
        }),
        code: Some(code()),
        training: Some(Training {
            family: Some(plan.family.clone()),
            parameters: plan.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            seed: Some(plan.seed),
            mode: Some(if served.warm_start { "warm-start" } else { "full" }.to_owned()),
            threads: Some(rayon::current_num_threads() as u64),
            deterministic: Some(true),
            ..Training::default()
        }),
        refit: Some(Refit {
            done: Some(served.gated_sibling.is_some()),
            gated_sibling: served.gated_sibling.clone(),
            rows: Some(served.fitted.len() as u64),
            overlap_at20: Some(sanity.overlap),
            overlap_users: Some(sanity.users as u64),
            ..Refit::default()
        }),
        machine: Some(machine()),
        energy: Some(Energy {
            cpu_seconds: spent.cpu_seconds,
            joules: spent.joules,
            method: Some(spent.method()),
            ..Energy::default()
        }),
        timings: Some(timings),
        ..asked_and_judged(plan, data, evaluation)
    }
}

/// The record of a bundle that somebody else has trained by this plan: its own words for family and parameters.
pub(crate) fn provenance_of_other(
    plan: &TrainingPlan,
    data: &Data,
    bundle: &BundleManifest,
    evaluation: &Evaluation,
) -> Provenance {
    Provenance {
        features: Some(Features {
            digest: Some(bundle.features_digest.clone()),
            definitions: section(&bundle.features),
            ..Features::default()
        }),
        training: Some(Training {
            family: Some(bundle.family.clone()),
            parameters: bundle.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            seed: Some(bundle.seed),
            ..Training::default()
        }),
        ..asked_and_judged(plan, data, evaluation)
    }
}

/// What is the same of every run, whoever trains.
fn asked_and_judged(plan: &TrainingPlan, data: &Data, evaluation: &Evaluation) -> Provenance {
    Provenance {
        model: Some(plan.model.clone()),
        run: Some(plan.run.clone()),
        trigger: Some(Trigger {
            code: plan.trigger.clone(),
            message: Some(plan.reason.clone()),
            evidence: plan.evidence.clone(),
            ..Trigger::default()
        }),
        parent: plan.champion.clone().map(|champion| Parent { champion: Some(champion), ..Parent::default() }),
        data: Some(data_section(plan, data)),
        evaluation: section(evaluation),
        ..Provenance::new()
    }
}

fn data_section(plan: &TrainingPlan, data: &Data) -> DataSection {
    let spec = &plan.data;
    let from = plan.as_of.checked_sub(spec.history).unwrap_or(jiff::Timestamp::MIN);
    let items = spec.items.as_ref().map(|items| source(items, &data.items_origin.clone().unwrap_or_default()));
    DataSection {
        interactions: Some(source(&spec.interactions, &data.origin)),
        items,
        as_of: Some(plan.as_of),
        window: Some(TimeWindow { from, through: plan.as_of }),
        report: section(&data.report),
        extra: BTreeMap::from([("historySeconds".to_owned(), json!(spec.history.as_secs()))]),
    }
}

fn source(source: &plan::Source, origin: &Origin) -> Source {
    Source {
        url: Some(without_secrets(&source.url)),
        sql: Some(source.sql.clone()),
        sql_digest: Some(fingerprint::of_bytes(source.sql.as_bytes())),
        snapshot: Some(origin.snapshot.clone()),
        schema: Some(origin.schema.clone()),
        ..Source::default()
    }
}

/// A URL without what may open a door: name and password, and the query, where signatures stand.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// What is trained with. An image or a build says more of itself in the environment.
fn code() -> Code {
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && value.len() <= TOLD_MAX);
    Code {
        package: Some(env!("CARGO_PKG_NAME").to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        revision: option_env!("FAIRWAY_REVISION").map(str::to_owned).or_else(|| told("FAIRWAY_REVISION")),
        image: told("FAIRWAY_IMAGE_DIGEST"),
        ..Code::default()
    }
}

/// Two shapes of the same JSON. `None` for numbers that JSON does not have, which the gates refuse before.
fn section<T: DeserializeOwned>(of: &impl Serialize) -> Option<T> {
    serde_json::from_value(serde_json::to_value(of).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_recorded_without_what_opens_them() {
        for (url, expected) in [
            ("sales.csv", "sales.csv"),
            ("s3://shop/transactions/", "s3://shop/transactions/"),
            ("https://user:word@host:8443/a@b/c.csv?sig=xyz#top", "https://host:8443/a@b/c.csv"),
            ("https://user@host?sig=a/b", "https://host"),
        ] {
            assert_eq!(without_secrets(url), expected);
        }
    }
}
