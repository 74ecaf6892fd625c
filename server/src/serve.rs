//! Sockets: accepting within a cap, limits on heads and idle connections, and an orderly end. HTTP/1.1 only.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router as Routes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::http::{self, Front, Limits};
use crate::inference::{Inference, inference_routes};
use crate::router::Router;

/// How long connections to a port live.
#[derive(Clone, Copy)]
struct Lives {
    /// The head of a request must arrive within this, also the first one, also on an idle connection.
    head: Duration,
    /// A connection that is older is closed after its next answer.
    age: Duration,
    /// Connections at once; further ones wait to be accepted.
    at_once: usize,
}

/// Those of the router's ports: strangers come there, and whoever waits is to have a turn although others always have a request.
const ROUTER: Lives = Lives { head: Duration::from_secs(5), age: Duration::from_secs(120), at_once: 1_024 };
/// Those of a model server: routers keep connections, and must find new replicas behind the same name in time.
const MODEL: Lives = Lives { head: Duration::from_secs(60), age: Duration::from_secs(30), at_once: 1_024 };
/// Most headers of a request; more are answered with 431.
const HEADERS: usize = 64;
/// Buffer of a connection, and so the longest head, in bytes.
const BUFFER: usize = 16 * 1024;
/// After this the end does not wait for anybody.
const DRAIN: Duration = Duration::from_secs(10);
/// Wait after a failed accept: out of file descriptors, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves the public port until `shutdown`: then `/readyz` says no, nothing more is accepted, and requests in flight
/// get up to 10 seconds. When it ends all of them were counted.
///
/// # Errors
/// If the listener's address cannot be read, which means that it is not a socket any more.
pub async fn serve_public(listener: TcpListener, router: Arc<Router>, shutdown: CancellationToken) -> io::Result<()> {
    let front = Front::new(Arc::clone(&router), Limits::default());
    let served = serve(listener, front.routes(), ROUTER, shutdown.clone());
    tokio::pin!(served);
    let done = tokio::select! {
        done = &mut served => done,
        () = shutdown.cancelled() => {
            router.drain();
            served.await
        }
    };
    if tokio::time::timeout(DRAIN, front.finished()).await.is_err() {
        tracing::warn!("requests were not counted");
    }
    done
}

/// Serves the admin port, `extra` beside the router's own paths, until `shutdown`. `extra` may bring a fallback but none
/// of `/metrics`, `/healthz` and `/readyz`. However many users come, and whatever they send, this port has places of its own.
///
/// # Errors
/// As [`serve_public`].
pub async fn serve_admin(
    listener: TcpListener,
    router: Arc<Router>,
    extra: Routes,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve(listener, http::admin_routes(router, extra), ROUTER, shutdown).await
}

/// Serves a version until `shutdown`: then it says that it is not ready, goes on for its pause, accepts nothing more,
/// and requests in flight get up to 10 seconds.
///
/// # Errors
/// As [`serve_public`].
pub async fn serve_model(
    listener: TcpListener,
    inference: Arc<Inference>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let stop = CancellationToken::new();
    let served = serve(listener, inference_routes(Arc::clone(&inference)), MODEL, stop.clone());
    tokio::pin!(served);
    let paused = async {
        shutdown.cancelled().await;
        inference.drain();
        tokio::time::sleep(inference.drain_pause()).await;
    };
    tokio::select! {
        done = &mut served => done,
        () = paused => {
            stop.cancel();
            served.await
        }
    }
}

async fn serve(listener: TcpListener, routes: Routes, lives: Lives, shutdown: CancellationToken) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving");
    let places = Arc::new(Semaphore::new(lives.at_once));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = shutdown.cancelled() => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => (place, stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(connection(stream, routes.clone(), lives));
        connections.spawn(async move {
            // Whatever goes wrong on a connection is its peer's business.
            drop(connection.await);
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections were cut off");
    }
    connections.shutdown().await;
    Ok(())
}

fn connection(
    stream: TcpStream,
    routes: Routes,
    lives: Lives,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<
        Incoming,
        ResBody = axum::body::Body,
        Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        Future: Send,
    >,
> {
    // Answers are small and waited for.
    drop(stream.set_nodelay(true));
    let accepted = Instant::now();
    // Connections that came together must not go together.
    let age = lives.age.mul_f64(rand::random_range(0.5..1.0));
    let service = service_fn(move |request| {
        let answer = routes.clone().oneshot(request);
        async move {
            let mut answer = answer.await?;
            if accepted.elapsed() > age {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(lives.head)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks once, and says whether the connection is to be closed.
    async fn ask(stream: &mut TcpStream) -> bool {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4_096];
        let n = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.contains("connection: close")
    }

    #[tokio::test]
    async fn whoever_always_has_a_request_makes_way_for_others_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let lives = Lives { age: Duration::from_millis(50), at_once: 1, ..ROUTER };
        let routes = Routes::new().route("/", get(async || "here"));
        let served = tokio::spawn(serve(listener, routes, lives, shutdown.clone()));
        let mut busy = TcpStream::connect(address).await.unwrap();
        let busy = async { while !ask(&mut busy).await {} };
        let mut waiting = TcpStream::connect(address).await.unwrap();
        // The one who waits gets an answer because the other one does not stay.
        tokio::join!(busy, ask(&mut waiting));
        shutdown.cancel();
        served.await.unwrap().unwrap();
    }
}
