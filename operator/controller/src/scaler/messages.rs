//! The messages of KEDA's `externalscaler.proto` (KEDA 2): field numbers are its contract, names are ours.

use std::collections::BTreeMap;

/// Which ScaledObject is asked about, with the metadata of one of its triggers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ScaledObjectRef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct IsActiveResponse {
    #[prost(bool, tag = "1")]
    pub(crate) result: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetMetricSpecResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) specs: Vec<MetricSpec>,
}

/// What a metric is to be for each replica. KEDA before 2.9 reads the whole number, later ones the other.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MetricSpec {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) target: i64,
    #[prost(double, tag = "3")]
    pub(crate) target_float: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetMetricsRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) object: Option<ScaledObjectRef>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetMetricsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<MetricValue>,
}

/// What a metric is, over all replicas.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MetricValue {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) value: i64,
    #[prost(double, tag = "3")]
    pub(crate) value_float: f64,
}
