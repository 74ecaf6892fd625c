//! Parameters as manifests write them: text by name. What cannot be used is an error that says what can.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use fairway_model::features::Milliseconds;

use crate::error::TrainError;

/// The parameters of one family.
pub(super) struct Parameters<'a> {
    values: &'a BTreeMap<String, String>,
}

impl<'a> Parameters<'a> {
    /// Refuses names that the family does not know.
    pub(super) fn of(
        family: &'static str,
        values: &'a BTreeMap<String, String>,
        known: &[&str],
    ) -> Result<Self, TrainError> {
        match values.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Self { values }),
            Some(key) => Err(TrainError::UnknownParameter {
                key: key.chars().take(64).collect(),
                family,
                known: known.join(", "),
            }),
        }
    }

    /// A number within a range.
    pub(super) fn number(
        &self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, TrainError> {
        self.read(
            key,
            default,
            |text| text.parse().ok().filter(|x| range.contains(x)),
            || format!("a number from {} to {} (default {default})", range.start(), range.end()),
        )
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, key: &'static str, default: u32, range: RangeInclusive<u32>) -> Result<u32, TrainError> {
        self.read(
            key,
            default,
            |text| text.parse().ok().filter(|x| range.contains(x)),
            || format!("a whole number from {} to {} (default {default})", range.start(), range.end()),
        )
    }

    /// A duration, in milliseconds; longer than nothing.
    pub(super) fn duration_ms(&self, key: &'static str, default: &'static str) -> Result<i64, TrainError> {
        let parse = |text: &str| text.parse::<Milliseconds>().ok().map(|duration| duration.0).filter(|&ms| ms > 0);
        let allowed = || format!("a duration such as 30d, 36h or 10m (default {default})");
        let default = parse(default).unwrap_or(i64::MAX);
        self.read(key, default, parse, allowed)
    }

    fn read<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
        allowed: impl Fn() -> String,
    ) -> Result<T, TrainError> {
        let Some(text) = self.values.get(key) else { return Ok(default) };
        parse(text.trim()).ok_or_else(|| TrainError::Parameter {
            key,
            value: text.chars().take(64).collect(),
            allowed: allowed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_refused_by_name() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let good = map(&[("regularization", " 250.5 "), ("minUsers", "7"), ("window", "36h")]);
        let known = ["regularization", "minUsers", "window"];
        let values = Parameters::of("ease", &good, &known).unwrap();
        assert_eq!(values.number("regularization", 200.0, 0.0..=1e6).unwrap(), 250.5);
        assert_eq!(values.whole("minUsers", 5, 1..=10).unwrap(), 7);
        assert_eq!(values.duration_ms("window", "30d").unwrap(), 36 * 3_600_000);
        assert_eq!(values.whole("absent", 3, 1..=10).unwrap(), 3);
        let error = values.whole("minUsers", 5, 1..=6).unwrap_err().to_string();
        assert!(error.contains("`minUsers` is `7`") && error.contains("from 1 to 6"), "{error}");
        for wrong in ["NaN", "", "1e9", "-1", "many"] {
            let wrong = map(&[("regularization", wrong)]);
            let values = Parameters::of("ease", &wrong, &known).unwrap();
            assert!(values.number("regularization", 200.0, 0.0..=1e6).is_err());
        }
        let unknown = map(&[("lambda", "1")]);
        let error = Parameters::of("ease", &unknown, &known).err().unwrap().to_string();
        assert!(error.contains("lambda") && error.contains("regularization, minUsers"), "{error}");
    }
}
