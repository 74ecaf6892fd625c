//! What the tests of an endpoint's objects are about: one model, one endpoint, one operator.

use std::sync::Arc;

use fairway_wire::{Orders, Target};
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::Subject;
use super::build::Builder;
use crate::pod::merge;
use crate::settings::Settings;

pub(crate) fn digest() -> String {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
}

/// The endpoint `shop` of the model `recs`, with more in their specs.
pub(super) fn subject(of_model: Value, of_endpoint: Value) -> Subject {
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "fairway.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let mut model = json!({
        "registry": "s3://models",
        "storageSecretRef": {"name": "bucket"},
        "data": {"interactions": {"url": "s3://b/x/", "sql": "SELECT 1"}},
        "reward": {"event": "purchase", "within": "1d"},
        "trainer": {"builtin": {"family": "ease"}},
    });
    merge(&mut model, of_model);
    let mut endpoint = json!({"model": "recs"});
    merge(&mut endpoint, of_endpoint);
    let model = serde_json::from_value(object("Model", "recs", model)).unwrap();
    let endpoint = serde_json::from_value(object("ModelEndpoint", "shop", endpoint)).unwrap();
    Subject::between(("shop".to_owned(), "shop".to_owned()), &endpoint, Arc::new(DeserializeGuard(Ok(model)))).unwrap()
}

pub(super) fn settings() -> Settings {
    Settings::of_tests()
}

/// What an endpoint's version 3 and its routers consist of.
pub(crate) struct Objects {
    pub(crate) servers: Value,
    pub(crate) routers: Value,
    pub(crate) service: Value,
    pub(crate) servers_service: Value,
    pub(crate) orders: Value,
}

pub(crate) fn objects(replicas: u32) -> Objects {
    let (subject, settings) = (subject(json!({}), json!({})), settings());
    let builder = Builder { subject: &subject, settings: &settings };
    let target = Target { version: 3, digest: digest() };
    let orders = Orders {
        route: None,
        versions: vec![builder.served_at(&target)],
        settings: builder.router_settings().unwrap(),
        peers: Vec::new(),
    };
    Objects {
        servers: builder.servers(&target, Some(replicas)).unwrap(),
        routers: builder.routers().unwrap(),
        service: builder.service(),
        servers_service: builder.servers_service(&target),
        orders: builder.orders(&orders).unwrap(),
    }
}
