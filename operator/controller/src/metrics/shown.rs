//! The conditions of objects, as they stand: a series a condition, for as long as the object is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_api::Condition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::board::Key;

#[derive(Clone, Debug, EncodeLabelSet)]
struct Holds {
    kind: String,
    namespace: String,
    name: String,
    r#type: String,
}

/// Kind, and namespace and name; and of each condition whether it is true.
type Objects = BTreeMap<(String, Key), Vec<(Box<str>, bool)>>;

/// See above. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<Objects>>);

impl Shown {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, kind: &str, key: &Key, conditions: &[Condition]) {
        let shown = conditions.iter().map(|one| (one.type_.as_str().into(), one.status == "True")).collect();
        self.objects().insert((kind.to_owned(), key.clone()), shown);
    }

    pub(super) fn keep(&self, keeps: impl Fn(&str, &Key) -> bool) {
        self.objects().retain(|(kind, key), _| keeps(kind, key));
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "1 where the condition is true";
        let mut family = encoder.encode_descriptor("condition", help, None, MetricType::Gauge)?;
        for ((kind, (namespace, name)), conditions) in &*self.objects() {
            for (condition, holds) in conditions {
                let (kind, namespace, name) = (kind.clone(), namespace.clone(), name.clone());
                let labels = Holds { kind, namespace, name, r#type: condition.to_string() };
                family.encode_family(&labels)?.encode_gauge(&i64::from(*holds))?;
            }
        }
        Ok(())
    }
}
