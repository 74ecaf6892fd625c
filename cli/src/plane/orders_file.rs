//! Orders in a file that somebody else replaces: a mounted ConfigMap, or anything on a disk. Whatever is wrong with it
//! later, the last good orders stay in force.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fairway_wire::Orders;
use tokio::sync::watch;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest file; a ConfigMap holds a megabyte.
const BYTES_MAX: u64 = 4 << 20;

/// A file of orders.
pub struct OrdersFile {
    path: PathBuf,
    /// What was read last: the same text is not parsed again, and the same fault not told again.
    text: Vec<u8>,
    is_first: bool,
}

impl OrdersFile {
    /// Nothing is read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, text: Vec::new(), is_first: true }
    }

    /// Hands on the first good orders and what changes, until nobody listens.
    pub async fn watch(mut self, orders: watch::Sender<Orders>) {
        let mut settings = None;
        let mut told = String::new();
        while !orders.is_closed() {
            match self.look() {
                Ok(Some(new)) => {
                    told.clear();
                    if *settings.get_or_insert_with(|| new.settings.clone()) != new.settings {
                        tracing::error!(
                            "other settings in the orders: restart the router; it goes on with the old ones"
                        );
                    }
                    orders.send_if_modified(|old| {
                        let is_new = *old != new || self.is_first;
                        *old = new;
                        is_new
                    });
                    self.is_first = false;
                }
                Ok(None) => {}
                Err(error) => {
                    let error = format!("{error:#}");
                    if error != told {
                        let stays = if self.is_first { "no orders yet" } else { "the last orders stay in force" };
                        tracing::warn!("{stays}: {error}");
                        told = error;
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The orders, if the text is another than at the last look.
    fn look(&mut self) -> Result<Option<Orders>> {
        let place = || format!("reading the orders {}", self.path.display());
        let mut text = Vec::new();
        let file = std::fs::File::open(&self.path).with_context(place)?;
        file.take(BYTES_MAX + 1).read_to_end(&mut text).with_context(place)?;
        if text == self.text {
            return Ok(None);
        }
        if text.len() as u64 > BYTES_MAX {
            return Err(anyhow!("longer than {BYTES_MAX} bytes")).with_context(place);
        }
        let orders: Orders = serde_json::from_slice(&text).with_context(place)?;
        if let Some(fault) = orders.settings.fault() {
            return Err(anyhow!(fault)).with_context(place);
        }
        self.text = text;
        Ok(Some(orders))
    }
}

#[cfg(test)]
mod tests {
    use fairway_wire::{ServedAt, Target};

    use super::*;

    fn orders(urls: &[&str]) -> Orders {
        let target = Target { version: 1, digest: "sha256:1".to_owned() };
        let versions = urls.iter().map(|url| ServedAt { target: target.clone(), url: (*url).to_owned() }).collect();
        Orders { versions, ..Orders::default() }
    }

    #[tokio::test]
    async fn the_last_good_orders_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.json");
        let write = |text: &str| {
            std::fs::write(folder.path().join("new"), text).unwrap();
            std::fs::rename(folder.path().join("new"), &path).unwrap();
        };
        let mut file = OrdersFile::new(path.clone());
        assert!(file.look().is_err(), "there is none yet");
        let (sender, mut receiver) = watch::channel(Orders::default());
        let watching = tokio::spawn(file.watch(sender));
        write(&serde_json::to_string(&orders(&["http://a"])).unwrap());
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), orders(&["http://a"]));

        for bad in ["", "{\"versions\": [", "{\"route\": null, \"versions\": [], \"settings\": {\"rewardCap\": 0}}"] {
            write(bad);
            tokio::time::sleep(LOOK_EVERY * 2).await;
            assert!(!receiver.has_changed().unwrap(), "{bad}");
        }
        std::fs::remove_file(&path).unwrap();
        tokio::time::sleep(LOOK_EVERY * 2).await;
        write(&serde_json::to_string(&orders(&["http://b"])).unwrap());
        tokio::time::timeout(Duration::from_secs(20), receiver.changed()).await.unwrap().unwrap();
        assert_eq!(*receiver.borrow_and_update(), orders(&["http://b"]));
        drop(receiver);
        tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap().unwrap();
    }
}
