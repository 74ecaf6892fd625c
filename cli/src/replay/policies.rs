//! Policies that need no loop: they train at times that are known beforehand, and everybody gets the newest model.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Result;
use fairway_model::{Interactions, ItemTexts, Query, Recommender, Seen, top_k};
use fairway_trainer::{CancelFlag, Silent, families};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::score::mean;
use super::{K, Months, Policy, Visit};

/// What is trained: the managed policy's own family and parameters, on the same length of history.
#[derive(Clone, Debug)]
pub struct Family {
    /// `ease`, …
    pub name: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// How far back a training looks.
    pub history: Duration,
}

/// Calendar policies are averaged over so many phases.
const PHASES: usize = 4;

/// When to train: once, on everything before `from`.
pub fn frozen(from: Timestamp) -> Vec<Timestamp> {
    vec![from]
}

/// When to train: at the start and at each month's start.
pub fn monthly(from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut times = vec![from];
    let mut month = from.to_zoned(TimeZone::UTC).date().first_of_month();
    loop {
        month = month.saturating_add(jiff::Span::new().months(1));
        match month.to_zoned(TimeZone::UTC) {
            Ok(start) if start.timestamp() < to => times.push(start.timestamp()),
            _ => return times,
        }
    }
}

/// When to train: at the start and `retrainings` times after it, evenly spaced; one list for each phase.
pub fn calendar(from: Timestamp, to: Timestamp, retrainings: usize) -> Vec<Vec<Timestamp>> {
    let length: Duration = to.duration_since(from).try_into().unwrap_or_default();
    let phase = |phase: usize| {
        let shift = (phase as f64 + 0.5) / PHASES as f64;
        let after = (0..retrainings).map(|i| from + length.mul_f64((i as f64 + shift) / retrainings as f64));
        std::iter::once(from).chain(after).collect()
    };
    if retrainings == 0 { vec![frozen(from)] } else { (0..PHASES).map(phase).collect() }
}

/// Runs a policy over all visits; several lists of times are phases whose mean counts.
///
/// # Errors
/// A training fails.
pub fn run_fixed(
    name: &'static str,
    schedules: &[Vec<Timestamp>],
    rows: &Interactions,
    visits: &[Visit],
    family: &Family,
) -> Result<Policy> {
    let mut runs = Vec::new();
    for schedule in schedules {
        runs.push(run_schedule(schedule, rows, visits, family)?);
    }
    let trainings = schedules.first().map_or(0, Vec::len);
    let reasons = match name {
        "frozen" => vec!["trained once, before the first visit".to_owned()],
        "monthly" => vec!["trained at each month's start".to_owned()],
        _ => vec![format!("{} retrainings evenly spaced, mean over {} phases", trainings - 1, schedules.len())],
    };
    Ok(Policy { name, trainings, promotions: trainings, rollbacks: 0, reasons, months: mean(&runs) })
}

fn run_schedule(
    schedule: &[Timestamp],
    rows: &Interactions,
    visits: &[Visit],
    family: &Family,
) -> Result<Vec<super::Month>> {
    let mut due = schedule.iter().peekable();
    let mut model: Option<Fitted> = None;
    let mut histories: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut months = Months::default();
    for visit in visits {
        while let Some(at) = due.next_if(|at| **at <= visit.time) {
            if due.peek().is_none_or(|next| **next > visit.time) {
                model = Some(Fitted::train(rows, *at, family)?);
            }
        }
        let history = histories.entry(visit.user).or_default();
        if let (Some(targets), Some(model)) = (&visit.targets, &mut model) {
            months.add(&visit.month, &model.list(history, visit.time), targets);
        }
        history.extend(visit.items.iter().copied().filter(|item| !history.contains(item)).collect::<Vec<_>>());
    }
    Ok(months.finish())
}

/// A trained model that answers in the indices of the data.
struct Fitted {
    recommender: Box<dyn Recommender>,
    /// From the data's item index to the model's.
    to_model: Vec<Option<u32>>,
    to_data: Vec<u32>,
    scores: Vec<f32>,
}

impl Fitted {
    fn train(rows: &Interactions, at: Timestamp, family: &Family) -> Result<Self> {
        let end = at.as_millisecond();
        let data = rows.between(end - family.history.as_millis() as i64, end);
        let (features, texts) = (fairway_model::FeatureDefinitions::default(), ItemTexts::default());
        let inputs = families::Inputs { data: &data, items: &texts, features: &features, seed: 1, from: None };
        let recommender = families::fit(&family.name, &family.parameters, inputs, &Silent, &CancelFlag::new())?;
        let to_model: Vec<Option<u32>> = rows.items.iter().map(|name| recommender.items().get(name)).collect();
        let mut to_data = vec![0; recommender.items().len()];
        for (index, item) in to_model.iter().enumerate() {
            if let Some(item) = item {
                to_data[*item as usize] = index as u32;
            }
        }
        let scores = vec![0.0; to_data.len()];
        Ok(Self { recommender, to_model, to_data, scores })
    }

    /// The best items that the user has not bought.
    fn list(&mut self, history: &[u32], now: Timestamp) -> Vec<u32> {
        let known: Vec<u32> = history.iter().filter_map(|item| self.to_model[*item as usize]).collect();
        let seen: Vec<Seen> = known.iter().map(|item| Seen { item: *item, time_ms: now.as_millisecond() }).collect();
        let query = Query { history: &seen, segment: None, now_ms: now.as_millisecond() };
        self.recommender.score(&query, &mut self.scores);
        let mut excluded = vec![false; self.scores.len()];
        known.iter().for_each(|item| excluded[*item as usize] = true);
        let mut best = Vec::new();
        top_k(&self.scores, |item| excluded[item as usize], K, &mut best);
        best.iter().map(|(item, _)| self.to_data[*item as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_start_on_their_first_day() {
        let times = monthly(at("2010-12-01T00:00:00Z"), at("2011-03-10T00:00:00Z"));
        let expected = ["2010-12-01T00:00:00Z", "2011-01-01T00:00:00Z", "2011-02-01T00:00:00Z", "2011-03-01T00:00:00Z"];
        assert_eq!(times, expected.map(at));
    }

    #[test]
    fn calendars_are_even_and_start_at_the_start() {
        let (from, to) = (at("2011-01-01T00:00:00Z"), at("2011-01-09T00:00:00Z"));
        let phases = calendar(from, to, 2);
        assert_eq!(phases.len(), PHASES);
        for times in &phases {
            assert_eq!((times.len(), times[0]), (3, from));
            assert_eq!(times[2].duration_since(times[1]), jiff::SignedDuration::from_hours(96));
        }
        assert_eq!(calendar(from, to, 0), vec![vec![from]]);
    }
}
