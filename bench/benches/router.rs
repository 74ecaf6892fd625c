//! The router over real HTTP, on one thread, beside an HTTP server that answers a fixed body to the same load; and the
//! router without HTTP, beside the model alone.
//!
//! What a core is: the server's runtime has one thread, so it can use no more than one core. Whatever else works in the
//! process meanwhile (the thread that takes decisions and windows away, as an operator's side does, and any helper that
//! there may be) is counted by thread and shown beside it. The load generator is other people's machine: it is not
//! counted.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use fairway_bench::load::{self, Connection, Load, Measured, Pace};
use fairway_bench::{cpu, report, shop};
use fairway_server::{Router, serve_public};

#[path = "router/endpoint.rs"]
mod endpoint;
#[path = "router/server.rs"]
mod server;

use endpoint::{Endpoint, K};
use server::Server;

/// Asked before anything is measured, so that caches, connections and memory are what they will be.
const WARM_UP: Duration = Duration::from_millis(500);
/// How an answer ends that the assigned version gave.
const ENDING: &[u8] = br#""served_by":"assigned","reason":"ok"}"#;

/// Asks the router as quickly as it can answer, and at a steady pace.
#[derive(Parser)]
struct Options {
    /// Length of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often everything is measured; each time is shown
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections of the load generator
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// Requests a second of the steady pace
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server under a load.
struct Run {
    load: Measured,
    /// CPU time of the server's thread.
    server: Duration,
    /// CPU time of everybody else but the load generator.
    helpers: Duration,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if !report::measures(options.bench) {
        return Ok(());
    }
    let endpoint = Endpoint::new(shop::ONLINE_RETAIL)?;
    println!(
        "\nrouter, EASE of {} items, {} users, k = {K}; {} connections, {} s each, {} CPUs\n",
        shop::ONLINE_RETAIL.items,
        shop::ONLINE_RETAIL.users,
        options.connections,
        options.seconds,
        report::cpus()
    );
    let collector = server::collect(&endpoint.router);
    over_http(&endpoint, &options)?;
    directly(&endpoint, &options)?;
    collector.stop();
    Ok(())
}

fn over_http(endpoint: &Endpoint, options: &Options) -> anyhow::Result<()> {
    let router = Arc::clone(&endpoint.router);
    let ours = Server::start(move |listener, stop| serve_public(listener, router, stop))?;
    let body = Connection::open(ours.address)?.ask(&endpoint.requests[0])?.to_vec();
    println!("an answer has {} bytes", body.len());
    let peer = Server::start(move |listener, stop| server::serve_fixed(listener, body, stop))?;
    let mut rows = Vec::new();
    let (mut rate, mut could, mut slowest) = (0.0_f64, 0.0_f64, Duration::ZERO);
    for (name, pace) in [("closed", Pace::Closed), ("paced", Pace::Paced(f64::from(options.rate)))] {
        for _ in 0..options.rounds {
            let fixed = run(&peer, endpoint, options, pace)?;
            let router = run(&ours, endpoint, options, pace)?;
            rows.push(router.row(&format!("{name}: router"), &fixed));
            rows.push(fixed.row(&format!("{name}: peer, a fixed body"), &fixed));
            match pace {
                Pace::Closed => (rate, could) = (rate.max(router.load.rate()), could.max(router.of_a_core())),
                Pace::Paced(_) => slowest = slowest.max(router.load.quantile(0.99)),
            }
        }
    }
    for server in [ours, peer] {
        server.stop().context("stopping a server")?;
    }
    let header = [
        "over HTTP",
        "requests/s",
        "of peer",
        "p50 µs",
        "p99 µs",
        "max µs",
        "CPU µs: server",
        "helpers",
        "load",
        "a core could/s",
        "wrong",
    ];
    report::print_table(&header, rows);
    let pace = options.rate;
    let found = format!("{rate:.0} requests/s ({could:.0} by CPU time), and p99 {slowest:.2?} at a pace of {pace}/s");
    let met = rate >= 5_000.0 && slowest < Duration::from_millis(5);
    report::print_bar("5,000 requests/s on one core at k = 20, p99 under 5 ms", &found, met);
    Ok(())
}

fn run(server: &Server, endpoint: &Endpoint, options: &Options, pace: Pace) -> anyhow::Result<Run> {
    let connections = usize::from(options.connections);
    let load = Load {
        address: server.address,
        requests: &endpoint.requests,
        ending: ENDING,
        connections,
        pace,
        duration: WARM_UP,
    };
    load::run(load)?;
    let before = cpu::of_threads()?;
    let load = load::run(Load { duration: Duration::from_secs(options.seconds), ..load })?;
    let after = cpu::of_threads()?;
    let (mut of_server, mut helpers) = (Duration::ZERO, Duration::ZERO);
    for (thread, time) in after {
        let used = time.saturating_sub(before.get(&thread).copied().unwrap_or_default());
        if thread == server.thread_id {
            of_server += used;
        } else if !load.threads.contains(&thread) {
            helpers += used;
        }
    }
    Ok(Run { load, server: of_server, helpers })
}

impl Run {
    /// Answers that a second of CPU time pays for, helpers included.
    fn of_a_core(&self) -> f64 {
        self.load.latencies.len() as f64 / (self.server + self.helpers).as_secs_f64().max(1e-9)
    }

    fn row(&self, name: &str, peer: &Self) -> Vec<String> {
        let answers = self.load.latencies.len().max(1) as u32;
        let micros = |time: Duration| format!("{:.0}", report::micros(time));
        let each = |time: Duration| format!("{:.1}", report::micros(time / answers));
        vec![
            name.to_owned(),
            format!("{:.0}", self.load.rate()),
            format!("{:.2}", self.load.rate() / peer.load.rate().max(1e-9)),
            micros(self.load.quantile(0.5)),
            micros(self.load.quantile(0.99)),
            micros(self.load.quantile(1.0)),
            each(self.server),
            each(self.helpers),
            each(self.load.cpu),
            format!("{:.0}", self.of_a_core()),
            self.load.wrong.to_string(),
        ]
    }
}

/// The router and the model without a socket, each alone on this thread.
fn directly(endpoint: &Endpoint, options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let router: &Router = &endpoint.router;
    let (mut scores, mut best) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for _ in 0..options.rounds {
        let (model, model_p99) = timed(options.seconds, |number| {
            endpoint.model_alone(number, &mut scores, &mut best);
            black_box(&best);
            Ok(())
        })?;
        let (whole, whole_p99) = timed(options.seconds, |number| {
            let answer = runtime.block_on(router.recommend(endpoint.ask(number)));
            black_box(answer.map_err(|problem| anyhow!("{}", problem.detail))?);
            Ok(())
        })?;
        let row = |name: &str, each: Duration, p99: Duration| {
            let rate = format!("{:.0}", 1.0 / each.as_secs_f64().max(1e-9));
            let (each, ratio) = (report::micros(each), report::ratio(each, model));
            vec![
                name.to_owned(),
                rate,
                format!("{each:.1}"),
                format!("{ratio:.2}"),
                format!("{:.0}", report::micros(p99)),
            ]
        };
        rows.push(row("Router::recommend", whole, whole_p99));
        rows.push(row("peer: the model's score and top_k alone", model, model_p99));
    }
    report::print_table(&["without HTTP", "a core could/s", "CPU µs", "of peer", "p99 µs"], rows);
    println!();
    Ok(())
}

/// Does the same again and again for some seconds: CPU time of one, and the time that 99 % of them did not exceed.
fn timed(seconds: u64, mut work: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<(Duration, Duration)> {
    let (begun, used) = (Instant::now(), cpu::of_this_thread()?);
    let mut latencies = Vec::new();
    while begun.elapsed().as_secs() < seconds {
        let started = Instant::now();
        work(latencies.len())?;
        latencies.push(started.elapsed());
    }
    let each = (cpu::of_this_thread()? - used) / latencies.len().max(1) as u32;
    latencies.sort_unstable();
    let measured = Measured { latencies, ..Measured::default() };
    Ok((each, measured.quantile(0.99)))
}
