//! HTTP/1.1 to a model server or another router: connections are kept and used again, idle ones and all bodies are
//! bounded, and every call has a deadline.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Error;
use crate::model_server::ModelFailure;

/// Idle connections that are kept.
const IDLE_MAX: usize = 64;
/// An idle connection is not used again after this: before common servers close it (uvicorn does after 5 s).
const IDLE_TIME: Duration = Duration::from_secs(4);
/// Time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// Longest words of a refusal that are kept.
const WORDS: usize = 200;

/// A server that is asked again and again: of models, or a peer. How many calls run at once is bounded by whoever asks.
pub(crate) struct Connection {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl Connection {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If `url` is not `http://host[:port][/path]`.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let base = url.trim_end_matches('/');
        let parsed = base.parse::<hyper::Uri>().ok();
        let usable =
            |uri: &hyper::Uri| uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none();
        if !parsed.as_ref().is_some_and(usable) {
            return Err(Error::ServerUrl(url.to_owned()));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Ok(Self { client, base: base.to_owned(), authorization: None })
    }

    /// With a bearer token; one that no header can hold is left out.
    pub(crate) fn with_token(self, token: &str) -> Self {
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok();
        authorization.iter_mut().for_each(|value| value.set_sensitive(true));
        Self { authorization, ..self }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The body of a 200, not longer than `limit`, by the deadline.
    ///
    /// # Errors
    /// What any other answer, or none, says of the server.
    pub(crate) async fn get(&self, path: &str, limit: usize, deadline: Duration) -> Result<Bytes, ModelFailure> {
        self.call(Method::GET, path, Bytes::new(), limit, deadline).await
    }

    /// As [`get`](Self::get), with a JSON body. It may be sent twice: asking a model changes nothing, and a peer knows events by
    /// their numbers.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Bytes, ModelFailure> {
        self.call(Method::POST, path, body.into(), limit, deadline).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: usize,
        deadline: Duration,
    ) -> Result<Bytes, ModelFailure> {
        let asked = self.ask(method, path, body, limit);
        tokio::time::timeout(deadline, asked).await.unwrap_or(Err(ModelFailure::Timeout))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, limit: usize) -> Result<Bytes, ModelFailure> {
        let first = self.client.request(self.request(method.clone(), path, body.clone())?).await;
        let response = match first {
            // The server closed a kept connection just as it was used again.
            Err(error) if closed_early(&error) => self.client.request(self.request(method, path, body)?).await,
            first => first,
        };
        let response = response.map_err(|error| ModelFailure::Error(words(&error)))?;
        let status = response.status();
        let declared = response.headers().get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit as u64) {
            return Err(too_long(limit));
        }
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_long(limit)),
            Err(_) => return Err(ModelFailure::Error("its answer broke off".to_owned())),
        };
        if status == StatusCode::OK { Ok(body) } else { Err(refusal(status, &body)) }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ModelFailure> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let mut request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| ModelFailure::Error(error.to_string()))
    }
}

fn closed_early(error: &legacy::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
    !error.is_connect() && source.is_some_and(|source| source.is_incomplete_message() || source.is_canceled())
}

/// An error with its causes, which hold the reason.
fn words(error: &legacy::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

fn too_long(limit: usize) -> ModelFailure {
    ModelFailure::Invalid(format!("it has more than {limit} bytes"))
}

/// What a status says: an adapter before a server passes on how that one failed.
fn refusal(status: StatusCode, body: &[u8]) -> ModelFailure {
    #[derive(serde::Deserialize)]
    struct Refused {
        error: String,
    }
    let error = serde_json::from_slice::<Refused>(body).map(|refused| refused.error).unwrap_or_default();
    let error: String = error.chars().filter(|one| !one.is_control()).take(WORDS).collect();
    match status {
        StatusCode::GATEWAY_TIMEOUT => ModelFailure::Timeout,
        StatusCode::BAD_GATEWAY => ModelFailure::Invalid(format!("status {status}: {error}")),
        _ => ModelFailure::Error(format!("status {status}: {error}")),
    }
}
