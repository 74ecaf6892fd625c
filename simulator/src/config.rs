//! What a shop is made of: sizes, habits, seasons and the days of sudden change. Every field has a default that gives
//! a shop calibrated to the drift of a real one (about 7 % of a month's purchases on items younger than a month).

use serde::{Deserialize, Serialize};

use crate::Error;

/// The whole description of a shop. The same description and the same calls give the same purchases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ShopConfig {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Number of users, 1 to 10 million.
    pub users: u32,
    /// Number of items on sale at any time, at least 2 per taste group.
    pub items: u32,
    /// Number of taste groups; each item belongs to one, each user mostly buys in two.
    pub taste_groups: u32,
    /// Segments of users and their shares.
    pub segments: Vec<Segment>,
    /// Visits a simulated day once the shop is live, at the season's mean.
    pub visits_per_day: f64,
    /// Visits a simulated day in the generated history, at the season's mean.
    pub history_visits_per_day: f64,
    /// Exponent of the popularity of items within their group.
    pub zipf: f64,
    /// Exponent b of the position bias: the chance to look at rank r (from 0) is `1 / (1 + r)^b`.
    pub position_bias: f64,
    /// Chance to buy an examined item that fits the user's main taste and is the most wanted of its group.
    pub buy_probability: f64,
    /// Mean number of purchases of a visit beside the list, 0 to 3.
    pub organic_purchases: f64,
    /// Spread of the users' activity: standard deviation of its logarithm.
    pub activity_spread: f64,
    /// How many of a user's last purchases are remembered and not bought again.
    pub memory: u32,
    /// The slow wave of volume and taste.
    pub season: Season,
    /// Items that die and are replaced each simulated day.
    pub births_per_day: u32,
    /// Share of users whose taste is drawn anew each simulated day.
    pub taste_changes_per_day: f64,
    /// Days of sudden change.
    pub shifts: Vec<Shift>,
}

/// A segment of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// Its name, as requests and transactions carry it.
    pub name: String,
    /// Its weight among the segments; weights need not add up to 1.
    pub share: f64,
}

/// A sinusoid over simulated days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Season {
    /// Length of one wave in simulated days.
    pub period_days: f64,
    /// Amplitude of the number of visits as a share of its mean, 0 to 1.
    pub volume: f64,
    /// Amplitude of the logarithm of each group's weight, 0 to 3; every group has its own phase.
    pub tastes: f64,
}

/// A sudden change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shift {
    /// Simulated day on whose first second it happens, counted from the shop's start; may be negative.
    pub day: i64,
    /// Share of items that change places, 0 to 1; half as large a share of the users changes taste.
    pub share: f64,
}

impl Default for Season {
    fn default() -> Self {
        Self { period_days: 365.0, volume: 0.3, tastes: 0.3 }
    }
}

impl Default for ShopConfig {
    fn default() -> Self {
        let segments = [("United Kingdom", 0.60), ("Germany", 0.15), ("France", 0.15), ("Spain", 0.10)];
        Self {
            seed: 7,
            users: 4_000,
            items: 600,
            taste_groups: 12,
            segments: segments.map(|(name, share)| Segment { name: name.to_owned(), share }).to_vec(),
            visits_per_day: 6_000.0,
            history_visits_per_day: 300.0,
            zipf: 0.9,
            position_bias: 0.7,
            buy_probability: 0.2,
            organic_purchases: 1.0,
            activity_spread: 0.8,
            memory: 300,
            season: Season::default(),
            births_per_day: 2,
            taste_changes_per_day: 0.002,
            shifts: Vec::new(),
        }
    }
}

impl ShopConfig {
    /// Says what is wrong with the description, first field first.
    pub fn check(&self) -> Result<(), Error> {
        let between = |field: &str, value: f64, low: f64, high: f64, allowed: &'static str| {
            let fine = value >= low && value <= high;
            if fine { Ok(()) } else { Err(refused(field, value, allowed)) }
        };
        between("users", f64::from(self.users), 1.0, 1e7, "1 to 10000000")?;
        between("tasteGroups", f64::from(self.taste_groups), 3.0, 1000.0, "3 to 1000")?;
        let fewest = 2.0 * f64::from(self.taste_groups);
        between("items", f64::from(self.items), fewest, 1e6, "at least 2 per taste group, at most 1000000")?;
        between("visitsPerDay", self.visits_per_day, 0.0, 1e9, "0 to 1e9")?;
        between("historyVisitsPerDay", self.history_visits_per_day, 0.0, 1e9, "0 to 1e9")?;
        between("zipf", self.zipf, 0.0, 3.0, "0 to 3")?;
        between("positionBias", self.position_bias, 0.0, 5.0, "0 to 5")?;
        between("buyProbability", self.buy_probability, 0.0, 1.0, "0 to 1")?;
        between("organicPurchases", self.organic_purchases, 0.0, 3.0, "0 to 3")?;
        between("activitySpread", self.activity_spread, 0.0, 2.0, "0 to 2")?;
        between("season.periodDays", self.season.period_days, 1.0, 1e6, "at least 1 day")?;
        between("season.volume", self.season.volume, 0.0, 1.0, "0 to 1")?;
        between("season.tastes", self.season.tastes, 0.0, 3.0, "0 to 3")?;
        between(
            "birthsPerDay",
            f64::from(self.births_per_day),
            0.0,
            f64::from(self.items),
            "at most the number of items",
        )?;
        between("tasteChangesPerDay", self.taste_changes_per_day, 0.0, 1.0, "0 to 1")?;
        for (index, shift) in self.shifts.iter().enumerate() {
            between(&format!("shifts[{index}].share"), shift.share, 0.0, 1.0, "0 to 1")?;
        }
        self.check_segments()
    }

    fn check_segments(&self) -> Result<(), Error> {
        if self.segments.is_empty() || self.segments.len() > 1000 {
            return Err(refused("segments", self.segments.len(), "1 to 1000 segments"));
        }
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.name.is_empty() || segment.name.len() > fairway_wire::ID_BYTES_MAX {
                let allowed = "a name of 1 to 128 bytes";
                return Err(refused(&format!("segments[{index}].name"), &segment.name, allowed));
            }
            if !(segment.share > 0.0 && segment.share.is_finite()) {
                return Err(refused(&format!("segments[{index}].share"), segment.share, "a number above 0"));
            }
        }
        Ok(())
    }
}

fn refused(field: &str, found: impl ToString, allowed: &'static str) -> Error {
    Error::Config { field: format!("shop.{field}"), found: found.to_string(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_allowed() {
        ShopConfig::default().check().unwrap();
    }

    #[test]
    fn an_empty_document_is_the_default() {
        let parsed: ShopConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(parsed, ShopConfig::default());
    }

    #[test]
    fn mistakes_are_named() {
        let table: [(&str, &str); 7] = [
            (r#"{"users": 0}"#, "shop.users"),
            (r#"{"items": 5}"#, "shop.items"),
            (r#"{"zipf": -1}"#, "shop.zipf"),
            (r#"{"season": {"volume": 2}}"#, "shop.season.volume"),
            (r#"{"shifts": [{"day": 1, "share": 1.5}]}"#, "shop.shifts[0].share"),
            (r#"{"segments": []}"#, "shop.segments"),
            (r#"{"segments": [{"name": "UK", "share": 0}]}"#, "shop.segments[0].share"),
        ];
        for (document, field) in table {
            let config: ShopConfig = serde_json::from_str(document).unwrap();
            let said = config.check().unwrap_err().to_string();
            assert!(said.starts_with(&format!("{field}: ")), "{document}: {said}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<ShopConfig>(r#"{"itemz": 5}"#).is_err());
    }

    #[test]
    fn not_a_number_is_refused() {
        let config = ShopConfig { zipf: f64::NAN, ..ShopConfig::default() };
        assert!(config.check().is_err());
    }
}
