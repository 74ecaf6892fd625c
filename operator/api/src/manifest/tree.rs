//! A YAML document as a tree that knows where each of its parts was written. It does not know what any of it means.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::error::Position;

/// A value and its place, counted from the start of what was parsed.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a map, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What was found, for messages.
    pub(crate) fn found(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Integer(n) => format!("the number {n}"),
            Value::Float(n) => format!("the number {n}"),
            Value::Text(text) => format!("the text `{}`", shortened(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }

    /// As JSON. Entries without a value count as left out, as in Kubernetes.
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Integer(n) => (*n).into(),
            Value::Float(n) => (*n).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => {
                let set = entries.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
                set.map(|entry| (entry.key.clone(), entry.node.json())).collect()
            }
        }
    }

    /// Moves every place down by so many lines.
    pub(crate) fn shift(&mut self, lines: u32) {
        let move_down = |at: &mut Position| at.line = at.line.saturating_add(lines);
        move_down(&mut self.at);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    move_down(&mut entry.at);
                    entry.node.shift(lines);
                }
            }
            _ => {}
        }
    }

    /// The place of every field by its path. A map or list is placed at its key, anything else at its value.
    pub(crate) fn positions(&self) -> BTreeMap<String, Position> {
        let mut places = BTreeMap::from([(String::new(), self.at)]);
        self.place("", &mut places);
        places
    }

    fn place(&self, path: &str, places: &mut BTreeMap<String, Position>) {
        match &self.value {
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    item.place(&path, places);
                    places.insert(path, item.at);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = joined(path, &entry.key);
                    entry.node.place(&path, places);
                    let is_block = matches!(entry.node.value, Value::Map(_) | Value::List(_) | Value::Null);
                    places.insert(path, if is_block { entry.at } else { entry.node.at });
                }
            }
            _ => {}
        }
    }
}

/// A path with one more key.
pub(crate) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The beginning of a text, fit for a message.
pub(crate) fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= 60 {
        return line.to_owned();
    }
    line.chars().take(57).chain("…".chars()).collect()
}

fn position<T>(spanned: &Spanned<T>) -> Position {
    let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let at = spanned.referenced;
    Position { line: clamp(at.line()), column: clamp(at.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: position(&spanned), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Beyond i64 no field counts anything; a float keeps the magnitude for the message.
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let at = position(&key);
            entries.push(Entry { key: key.value, at, node: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}
