//! Tensors of the Open Inference Protocol v2 in JSON, as both sides read and write them. Names are borrowed from the
//! body where they can be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A named array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tensor<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) datatype: Cow<'a, str>,
    pub(crate) shape: Vec<usize>,
    #[serde(borrow)]
    pub(crate) data: Data<'a>,
}

/// The values, row-major; nested lists are read as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Data<'a> {
    /// Whole numbers, or nothing.
    Whole(Vec<i64>),
    Real(Vec<f32>),
    Text(Vec<Cow<'a, str>>),
    /// Nothing of a type yet.
    #[default]
    #[serde(serialize_with = "empty")]
    None,
}

fn empty<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(std::iter::empty::<i64>())
}

/// The body of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) inputs: Vec<Tensor<'a>>,
    /// Which outputs are wanted; all if it says nothing.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Wanted<'a>>,
}

/// An output that is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wanted<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
}

/// The body of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Response<'a> {
    #[serde(borrow, default)]
    pub(crate) model_name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_version: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<Parameters>,
    #[serde(borrow, default)]
    pub(crate) outputs: Vec<Tensor<'a>>,
}

/// What an answer says beside its tensors.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// The version knows nothing of this user.
    #[serde(default)]
    pub(crate) cold_start: bool,
}

impl<'a> Tensor<'a> {
    /// A tensor of one dimension.
    pub(crate) fn flat(name: &'a str, datatype: &'a str, data: Data<'a>) -> Self {
        Self { name: name.into(), datatype: datatype.into(), shape: vec![data.len()], data }
    }

    /// Takes the tensor called `name`, with a shape that its values fill.
    pub(crate) fn take(all: &mut Vec<Self>, name: &str) -> Result<Option<Self>, String> {
        let Some(at) = all.iter().position(|one| one.name == name) else {
            return Ok(None);
        };
        let one = all.swap_remove(at);
        let expected = one.shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
        if expected == Some(one.data.len()) {
            return Ok(Some(one));
        }
        Err(format!("`{name}` has {} values, which is not what its shape {:?} says", one.data.len(), one.shape))
    }

    /// The values of a list of strings.
    pub(crate) fn text(self) -> Result<Vec<Cow<'a, str>>, String> {
        match (&*self.datatype, self.data) {
            ("BYTES", Data::Text(values)) => Ok(values),
            ("BYTES", Data::None) => Ok(Vec::new()),
            _ => Err(format!("`{}` must be BYTES, as JSON strings", self.name)),
        }
    }

    /// The values of a list of whole numbers.
    pub(crate) fn whole(self, datatype: &str) -> Result<Vec<i64>, String> {
        match self.data {
            Data::Whole(values) if self.datatype == datatype => Ok(values),
            Data::None if self.datatype == datatype => Ok(Vec::new()),
            _ => Err(format!("`{}` must be {datatype}, as JSON whole numbers", self.name)),
        }
    }

    /// The values of a list of finite numbers of single or double precision.
    pub(crate) fn real(self) -> Result<Vec<f32>, String> {
        let values = match self.data {
            Data::Real(values) => values,
            Data::Whole(values) => values.into_iter().map(|value| value as f32).collect(),
            Data::None => Vec::new(),
            Data::Text(_) => return Err(format!("`{}` must be FP32, as JSON numbers", self.name)),
        };
        if !matches!(&*self.datatype, "FP32" | "FP64") || values.iter().any(|value| !value.is_finite()) {
            return Err(format!("`{}` must be FP32, as finite JSON numbers", self.name));
        }
        Ok(values)
    }
}

impl Data<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Whole(values) => values.len(),
            Self::Real(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Data::None;
        deserializer.deserialize_seq(Values(&mut data))?;
        Ok(data)
    }
}

/// Reads a value, or a list of such, to the end of what was read before.
struct Values<'r, 'a>(&'r mut Data<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Values<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Values<'_, 'a> {
    fn push_text<E: de::Error>(self, value: Cow<'a, str>) -> Result<(), E> {
        match self.0 {
            Data::None => *self.0 = Data::Text(vec![value]),
            Data::Text(values) => values.push(value),
            _ => return Err(E::custom("strings among numbers")),
        }
        Ok(())
    }

    fn push_real<E: de::Error>(self, value: f32) -> Result<(), E> {
        match self.0 {
            Data::None => *self.0 = Data::Real(vec![value]),
            Data::Real(values) => values.push(value),
            Data::Whole(values) => {
                let before = values.iter().map(|&value| value as f32);
                *self.0 = Data::Real(before.chain([value]).collect());
            }
            Data::Text(_) => return Err(E::custom("numbers among strings")),
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Values<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number or a list of such")
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<(), E> {
        self.push_text(Cow::Borrowed(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.push_text(Cow::Owned(value.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        match self.0 {
            Data::None => *self.0 = Data::Whole(vec![value]),
            Data::Whole(values) => values.push(value),
            _ => return self.push_real(value as f32),
        }
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.push_real(value as f32),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.push_real(value as f32)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Values(&mut *self.0))?.is_some() {}
        Ok(())
    }
}
