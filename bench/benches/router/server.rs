//! Servers on threads of their own: the router's, the peer that answers a fixed body, and the thread that takes decisions
//! and windows away.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router as Routes;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::post;
use axum::serve::ListenerExt;
use fairway_bench::cpu::{self, ThreadId};
use fairway_server::{Router, decisions_to_parquet};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often decisions and windows are taken away; fewer decisions gather meanwhile than a router keeps.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// A server with one thread for everything.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its thread.
    pub thread_id: ThreadId,
    stop: CancellationToken,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    /// On a free port of the loopback, until [`stop`](Self::stop).
    pub fn start<F>(serve: impl FnOnce(TcpListener, CancellationToken) -> F + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = io::Result<()>>,
    {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name("server".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                // Whoever started this waits for it, or has given up.
                tell.send((listener.local_addr()?, cpu::this_thread()?)).map_err(io::Error::other)?;
                serve(listener, stopped).await
            })
        })?;
        let (address, thread_id) = told.recv().context("the server did not start")?;
        Ok(Self { address, thread_id, stop, thread })
    }

    /// Waits until it has ended.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow!("the server panicked"))?.context("serving")
    }
}

/// The peer: reads what is posted and answers `body`, always the same.
pub async fn serve_fixed(listener: TcpListener, body: Vec<u8>, stop: CancellationToken) -> io::Result<()> {
    let body = Bytes::from(body);
    let answer = async move |_: Bytes| ([(header::CONTENT_TYPE, "application/json")], body.clone());
    let routes: Routes = Routes::new().route("/v1/recommend", post(answer));
    // As the router's server does.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Takes decisions and windows away, and makes Parquet of the decisions, as whoever runs a router must.
pub struct Collector {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts collecting.
pub fn collect(router: &Arc<Router>) -> Collector {
    let router = Arc::clone(router);
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(COLLECT_EVERY) {
            std::hint::black_box(decisions_to_parquet(&router.take_decisions()).is_ok());
            std::hint::black_box(router.take_windows());
        }
    });
    Collector { stop, thread }
}

impl Collector {
    /// Waits until it has ended.
    pub fn stop(self) {
        drop(self.stop);
        // It holds nothing that is still needed.
        drop(self.thread.join());
    }
}
