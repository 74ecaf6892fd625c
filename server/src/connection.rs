//! HTTP/1.1 to a model server or another router: connections are kept and used again, idle ones and all bodies are
//! bounded, and every call has a deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::connect::{Connected, HttpConnector};
use hyper_util::client::legacy::{self, Client, connect};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::util::MapResponse;

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

/// Gives connections with what is known of them.
type Connector = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> Stream>;

/// A server that is asked again and again: of models, or a peer. How many calls run at once is bounded by whoever asks.
pub(crate) struct Connection {
    client: Client<Connector, Full<Bytes>>,
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
            .build(MapResponse::new(connector, Stream::new as fn(_) -> _));
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

    /// As [`get`](Self::get), with a JSON body. It may be sent twice, over a connection that had been kept and then over another:
    /// asking a model changes nothing, and a peer knows events by their numbers.
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
        let first = self.send(self.request(method.clone(), path, body.clone())?).await;
        let response = match first {
            // The server closed a kept connection just as it was used again. If it did so on a new one, it did it for this question.
            Err(error) if was_kept(&error) => self.send(self.request(method, path, body)?).await,
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

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, legacy::Error> {
        let response = self.client.request(request).await?;
        if let Some(Answered(answered)) = response.extensions().get::<Answered>() {
            answered.store(true, Ordering::Relaxed);
        }
        Ok(response)
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

/// Whether a call failed because a connection that had brought answers before was closed without one.
fn was_kept(error: &legacy::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
    let closed = source.is_some_and(|source| source.is_incomplete_message() || source.is_canceled());
    let mut known = hyper::http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut known);
    }
    closed && known.get::<Answered>().is_some_and(|Answered(answered)| answered.load(Ordering::Relaxed))
}

/// Whether an answer came over a connection.
#[derive(Clone, Default)]
struct Answered(Arc<AtomicBool>);

/// A connection that goes with what is known of it: of a failed call the client says only on which one it was.
struct Stream {
    inner: TokioIo<TcpStream>,
    answered: Answered,
}

impl Stream {
    fn new(inner: TokioIo<TcpStream>) -> Self {
        Self { inner, answered: Answered::default() }
    }
}

impl connect::Connection for Stream {
    fn connected(&self) -> Connected {
        self.inner.connected().extra(self.answered.clone())
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers so many questions on each connection and closes it at the next one; and how many it was asked.
    async fn server(answers: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answered in 0.. {
                    if stream.read(&mut [0; 4_096]).await.unwrap() == 0 {
                        break;
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    if answered == answers {
                        break;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                }
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn only_what_was_sent_on_a_kept_connection_is_sent_again() {
        let get = async |connection: &Connection| connection.get("/x", 99, Duration::from_secs(20)).await;
        let (url, asked) = server(0).await;
        assert!(matches!(get(&Connection::new(&url).unwrap()).await, Err(ModelFailure::Error(_))));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it may be the question that the server dies of");
        let (url, asked) = server(1).await;
        let connection = Connection::new(&url).unwrap();
        for _ in 0..2 {
            assert_eq!(get(&connection).await.unwrap(), "{}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
