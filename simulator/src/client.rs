//! The HTTP side of a visitor: keep-alive connections to one endpoint, each request with a deadline and each failure
//! with a reason. It never asks twice: a visitor would not either.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use fairway_wire::{Event, RecommendRequest, RecommendResponse};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;

use crate::Error;

/// How long a visitor waits, connection and answer together.
const PATIENCE: Duration = Duration::from_secs(2);
/// An idle connection is not used again after this: before the router closes it, which it does after 5 s.
const KEPT: Duration = Duration::from_secs(3);
/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How much of an error's text is kept.
const DETAIL_CHARS_MAX: usize = 200;

/// A client of one endpoint; clones share the connections.
#[derive(Clone)]
pub(crate) struct Endpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    recommend: Uri,
    events: Uri,
}

impl Endpoint {
    /// An endpoint at `base`, as `http://host:port`, with up to `connections` kept open.
    pub(crate) fn new(base: &str, connections: usize) -> Result<Self, Error> {
        let refused = |why: String| Error::Endpoint { url: base.to_owned(), why };
        let uri = |path: &str| {
            format!("{}{path}", base.trim_end_matches('/')).parse::<Uri>().map_err(|why| refused(why.to_string()))
        };
        let (recommend, events) = (uri("/v1/recommend")?, uri("/v1/events")?);
        if recommend.scheme_str() != Some("http") {
            return Err(refused("only plain http is spoken".to_owned()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(connections)
            .build(connector);
        Ok(Self { client, recommend, events })
    }

    /// Asks for a list.
    pub(crate) async fn recommend(&self, request: &RecommendRequest) -> Result<RecommendResponse, String> {
        let body = self.post(&self.recommend, request).await?;
        serde_json::from_slice(&body).map_err(|why| failure(&self.recommend, format!("not an answer: {why}")))
    }

    /// Tells what was bought.
    pub(crate) async fn events(&self, events: &[Event]) -> Result<(), String> {
        self.post(&self.events, events).await.map(|_| ())
    }

    async fn post<T: Serialize + ?Sized>(&self, uri: &Uri, content: &T) -> Result<Bytes, String> {
        let body = serde_json::to_vec(content).map_err(|why| failure(uri, why))?;
        match tokio::time::timeout(PATIENCE, self.exchange(uri, body)).await {
            Ok(answer) => answer.map_err(|why| failure(uri, why)),
            Err(_) => Err(failure(uri, "no answer in 2 s")),
        }
    }

    async fn exchange(&self, uri: &Uri, body: Vec<u8>) -> Result<Bytes, String> {
        let request = Request::post(uri).header(CONTENT_TYPE, "application/json").body(Full::from(body));
        let answer = self.client.request(request.map_err(|why| why.to_string())?).await.map_err(causes)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|why| why.to_string())?.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        let detail: String = String::from_utf8_lossy(&body).chars().take(DETAIL_CHARS_MAX).collect();
        Err(format!("{}: {detail}", head.status))
    }
}

fn failure(uri: &Uri, why: impl Display) -> String {
    format!("POST {}: {why}", uri.path())
}

/// The error with what caused it; the outermost alone says nothing but "client error".
fn causes(error: hyper_util::client::legacy::Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_are_named() {
        for base in ["https://localhost:1", "localhost:8080", "", "http://"] {
            let said = Endpoint::new(base, 1).err().expect("refused").to_string();
            assert!(said.starts_with(&format!("endpoint {base:?}: ")), "{said}");
        }
        let endpoint = Endpoint::new("http://localhost:8080/", 1).unwrap();
        assert_eq!(endpoint.events, "http://localhost:8080/v1/events");
    }
}
