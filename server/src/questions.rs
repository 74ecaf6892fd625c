//! A question to a model as tensors, and an answer back from them: the names of `ScoreQuery` on the wire. Both sides
//! are here, so that they cannot drift apart.

use std::borrow::Cow;

use fairway_model::{Seen, Vocabulary};
use fairway_wire::ITEMS_MAX;

use crate::model_server::{ModelFailure, ScoreQuery};
use crate::tensors::{Data, Request, Response, Tensor};

/// Inputs: name, type, shape as the protocol's metadata shows it (-1 is any length).
pub(crate) const INPUTS: [(&str, &str, i64); 6] = [
    ("history", "BYTES", -1),
    ("history_time_ms", "INT64", -1),
    ("exclude", "BYTES", -1),
    ("segment", "BYTES", -1),
    ("now_ms", "INT64", 1),
    ("k", "INT32", 1),
];
/// Outputs, likewise.
pub(crate) const OUTPUTS: [(&str, &str, i64); 2] = [("items", "BYTES", -1), ("scores", "FP32", -1)];

/// The body that asks `query` of a server that knows `items`.
pub(crate) fn write(query: &ScoreQuery, items: &Vocabulary) -> Result<Vec<u8>, serde_json::Error> {
    let name = |item: u32| Cow::Borrowed(items.name(item));
    let inputs = vec![
        Tensor::flat("history", "BYTES", Data::Text(query.history.iter().map(|seen| name(seen.item)).collect())),
        Tensor::flat("history_time_ms", "INT64", Data::Whole(query.history.iter().map(|seen| seen.time_ms).collect())),
        Tensor::flat("exclude", "BYTES", Data::Text(query.exclude.iter().map(|&item| name(item)).collect())),
        Tensor::flat("segment", "BYTES", Data::Text(query.segment.as_deref().map(Cow::Borrowed).into_iter().collect())),
        Tensor::flat("now_ms", "INT64", Data::Whole(vec![query.now_ms])),
        Tensor::flat("k", "INT32", Data::Whole(vec![wanted(query.k) as i64])),
    ];
    let mut body = Vec::with_capacity(512 + 24 * (2 * query.history.len() + query.exclude.len()));
    serde_json::to_writer(&mut body, &Request { id: None, inputs, outputs: Vec::new() })?;
    Ok(body)
}

/// How many items are asked for at once; no answer to a caller holds more.
pub(crate) fn wanted(k: usize) -> usize {
    k.clamp(1, ITEMS_MAX)
}

/// The question that inputs ask. Names that the version does not know are left out: it knows nothing of them.
pub(crate) fn read(mut inputs: Vec<Tensor<'_>>, items: &Vocabulary) -> Result<ScoreQuery, String> {
    let mut texts =
        |name| Tensor::take(&mut inputs, name)?.map(Tensor::text).transpose().map(Option::unwrap_or_default);
    let (history, exclude, segment) = (texts("history")?, texts("exclude")?, texts("segment")?);
    let times = Tensor::take(&mut inputs, "history_time_ms")?.map(|one| one.whole("INT64")).transpose()?;
    let times = times.unwrap_or_default();
    let now_ms = one(&mut inputs, "now_ms", "INT64")?;
    let k = one(&mut inputs, "k", "INT32")?;
    if let Some(other) = inputs.first() {
        return Err(format!("`{}` is not an input, or stands twice", other.name));
    }
    if history.len() != times.len() {
        return Err("`history` and `history_time_ms` must have the same length".to_owned());
    }
    let k = usize::try_from(k).ok().filter(|k| (1..=ITEMS_MAX).contains(k));
    let k = k.ok_or_else(|| format!("`k` must be from 1 to {ITEMS_MAX}"))?;
    let ([] | [_]) = &segment[..] else {
        return Err("`segment` may have one value".to_owned());
    };
    let seen = history.iter().zip(times).filter_map(|(name, time_ms)| Some(Seen { item: items.get(name)?, time_ms }));
    let mut exclude: Vec<u32> = exclude.iter().filter_map(|name| items.get(name)).collect();
    exclude.sort_unstable();
    let segment = segment.into_iter().next().map(|name| name.as_ref().into());
    Ok(ScoreQuery { history: seen.collect(), exclude, segment, now_ms, k })
}

fn one(inputs: &mut Vec<Tensor<'_>>, name: &str, datatype: &str) -> Result<i64, String> {
    let missing = || format!("the input `{name}` is missing; it is {datatype} with one value");
    let values = Tensor::take(inputs, name)?.ok_or_else(missing)?.whole(datatype)?;
    let [value] = values[..] else {
        return Err(format!("`{name}` must have one value"));
    };
    Ok(value)
}

/// The outputs that say an answer.
pub(crate) fn outputs(answer: &[(String, f32)]) -> Vec<Tensor<'_>> {
    let names = answer.iter().map(|(name, _)| Cow::Borrowed(&**name)).collect();
    let scores = answer.iter().map(|&(_, score)| score).collect();
    vec![Tensor::flat("items", "BYTES", Data::Text(names)), Tensor::flat("scores", "FP32", Data::Real(scores))]
}

/// What an answer's tensors hold.
pub(crate) enum Answered {
    /// Items by name with their scores.
    Named(Vec<(String, f32)>),
    /// A score for each item of the version, in its order.
    Scores(Vec<f32>),
}

/// The answer that a body says. With `scores` alone it is one score an item.
pub(crate) fn answered(mut response: Response<'_>) -> Result<Answered, ModelFailure> {
    if response.parameters.as_ref().is_some_and(|say| say.cold_start) {
        return Err(ModelFailure::ColdStart);
    }
    let invalid = ModelFailure::Invalid;
    let take = |all: &mut Vec<_>, name| Tensor::take(all, name).map_err(invalid);
    let items = take(&mut response.outputs, "items")?;
    let Some(scores) = take(&mut response.outputs, "scores")? else {
        return Err(invalid("the output `scores` is missing".to_owned()));
    };
    let scores = scores.real().map_err(invalid)?;
    let Some(items) = items else {
        return Ok(Answered::Scores(scores));
    };
    let items = items.text().map_err(invalid)?;
    if items.len() != scores.len() {
        return Err(invalid(format!("{} items have {} scores", items.len(), scores.len())));
    }
    Ok(Answered::Named(items.into_iter().map(Cow::into_owned).zip(scores).collect()))
}
