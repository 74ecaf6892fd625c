//! A router's side of the cluster: its orders, as its ConfigMap has them. With the API server gone it keeps the last ones.

use std::time::Duration;

use anyhow::{Context, Result};
use fairway_wire::{ORDERS_KEY, Orders};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

/// A watch is asked for again after this, in seconds.
const RENEWED: u32 = 25;
/// Longest wait for a client: the API server is not needed to begin.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// Follows a ConfigMap's orders until the receiver is gone. Orders that cannot be read are told and left out.
///
/// # Errors
/// The process is not in a cluster, and no kubeconfig says where one is.
pub async fn follow_orders(namespace: &str, name: &str, orders: &watch::Sender<Orders>) -> Result<()> {
    let client = tokio::time::timeout(CONNECTS_WITHIN, Client::try_default()).await.context("connecting")??;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(RENEWED);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
    while let Some(event) = events.next().await {
        let map = match event {
            Ok(map) => map,
            Err(error) => {
                tracing::warn!("the watch of the orders was cut off; the last ones stand: {error}");
                continue;
            }
        };
        let text = map.data.as_ref().and_then(|data| data.get(ORDERS_KEY));
        match text.map(|text| serde_json::from_str(text)) {
            Some(Ok(read)) => {
                let read: Orders = read;
                match read.settings.fault() {
                    Some(fault) => tracing::error!("the orders in {namespace}/{name} cannot be used: {fault}"),
                    None if orders.send(read).is_err() => return Ok(()),
                    None => {}
                }
            }
            Some(Err(error)) => tracing::error!("the orders in {namespace}/{name} cannot be read: {error}"),
            None => tracing::error!("{namespace}/{name} has no {ORDERS_KEY}"),
        }
    }
    Ok(())
}
