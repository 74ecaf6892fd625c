//! A load generator: keep-alive connections over which one request after the other is asked, each on a thread of its own.
//!
//! Closed: each connection asks again as soon as it has its answer, which finds the most that a server can do. Paced:
//! requests are due at random moments (Poisson) whatever the server does, and a latency counts from when a request was
//! due, so that a server that stalls pays for all who would have come meanwhile.
//!
//! What it does not do: it is no HTTP client. It reads what `hyper` writes: a head with a content length, and a body.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp};

use crate::cpu::{self, ThreadId};

/// Longest answer, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// A server that is silent for longer is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// When requests are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as the answer before is there.
    Closed,
    /// At random moments, so many a second over all connections.
    Paced(f64),
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whole requests as [`request`] makes them; asked in turn.
    pub requests: &'a [Vec<u8>],
    /// How every body must end; others are counted as wrong.
    pub ending: &'a [u8],
    /// Connections, and threads.
    pub connections: usize,
    /// When.
    pub pace: Pace,
    /// For how long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Measured {
    /// From when a request was asked (or due) to its last byte, in ascending order.
    pub latencies: Vec<Duration>,
    /// Answers that were not what they should be.
    pub wrong: usize,
    /// From the first request to the last answer.
    pub took: Duration,
    /// CPU time of the load generator itself.
    pub cpu: Duration,
    /// Its threads, which have ended.
    pub threads: Vec<ThreadId>,
}

impl Measured {
    /// The latency that a share `q` of the requests did not exceed; nothing without requests.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = (q * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

/// A `POST` of JSON, byte for byte.
pub fn request(path: &str, json: &str) -> Vec<u8> {
    let length = json.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    )
    .into_bytes()
}

/// Asks until the time is over.
///
/// # Errors
/// A connection that breaks, or an answer that is not HTTP.
pub fn run(load: Load<'_>) -> io::Result<Measured> {
    let started = Instant::now();
    let parts = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections).map(|number| scope.spawn(move || drive(load, number))).collect();
        let panicked = |_| Err(io::Error::other("a thread of the load generator panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect::<io::Result<Vec<_>>>()
    })?;
    let mut whole = Measured { took: started.elapsed(), ..Measured::default() };
    for part in parts {
        whole.latencies.extend(part.latencies);
        whole.wrong += part.wrong;
        whole.cpu += part.cpu;
        whole.threads.extend(part.threads);
    }
    whole.latencies.sort_unstable();
    Ok(whole)
}

/// One connection's part.
fn drive(load: Load<'_>, number: usize) -> io::Result<Measured> {
    let mut connection = Connection::open(load.address)?;
    let mut part = Measured { threads: vec![cpu::this_thread()?], ..Measured::default() };
    let begun = Instant::now();
    let mut gaps = Gaps::new(load, number);
    let mut due = begun;
    for at in (number..).step_by(load.connections) {
        due = match &mut gaps {
            None => Instant::now(),
            Some(gaps) => due + gaps.next(),
        };
        if due - begun >= load.duration {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let body = connection.ask(&load.requests[at % load.requests.len()])?;
        part.wrong += usize::from(!body.ends_with(load.ending));
        part.latencies.push(due.elapsed());
    }
    part.cpu = cpu::of_this_thread()?;
    Ok(part)
}

/// Times between the requests of one connection. Streams of many connections add up to one Poisson stream.
struct Gaps {
    seconds: Exp<f64>,
    random: ChaCha8Rng,
}

impl Gaps {
    fn new(load: Load<'_>, number: usize) -> Option<Self> {
        let Pace::Paced(rate) = load.pace else { return None };
        let seconds = Exp::new(rate / load.connections as f64).ok()?;
        Some(Self { seconds, random: ChaCha8Rng::seed_from_u64(number as u64) })
    }

    fn next(&mut self) -> Duration {
        Duration::from_secs_f64(self.seconds.sample(&mut self.random))
    }
}

/// A connection and what was read from it.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; ANSWER_MAX] })
    }

    /// Asks and waits; the body of the answer.
    ///
    /// # Errors
    /// Anything but a whole answer of status 200.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request)?;
        let mut got = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[got..])?;
            if read == 0 {
                return Err(io::Error::other("the server closed the connection, or its answer is too long"));
            }
            got += read;
            if let Some((from, to)) = body_of(&self.buffer[..got])?
                && got >= to
            {
                return Ok(&self.buffer[from..to]);
            }
        }
    }
}

/// Where the body of an answer begins and ends, as soon as its head is there.
fn body_of(answer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &answer[..end];
    let refuse = || io::Error::other(format!("not an answer: {}", String::from_utf8_lossy(head)));
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(refuse());
    }
    let field = b"content-length: ";
    let at = head.windows(field.len()).position(|part| part.eq_ignore_ascii_case(field)).ok_or_else(refuse)?;
    let digits = head[at + field.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    Ok(Some((end + 4, (end + 4).saturating_add(length))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\ndate: today\r\n\r\n{}";
        assert_eq!(body_of(answer).unwrap(), Some((52, 64)));
        assert_eq!(body_of(&answer[..30]).unwrap(), None);
        assert!(body_of(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(body_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn quantiles_are_exact() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let measured = Measured { latencies, ..Measured::default() };
        assert_eq!(measured.quantile(0.5), Duration::from_millis(50));
        assert_eq!(measured.quantile(0.99), Duration::from_millis(99));
        assert_eq!(measured.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Measured::default().quantile(0.5), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_connection_asks_in_either_pace() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || answer_all(stream.unwrap()));
            }
        });
        let requests = [request("/", "{}")];
        for pace in [Pace::Closed, Pace::Paced(1_000.0)] {
            let duration = Duration::from_millis(100);
            let measured =
                run(Load { address, requests: &requests, ending: b"ok", connections: 2, pace, duration }).unwrap();
            assert_eq!((measured.threads.len(), measured.wrong), (2, 0));
            assert!(!measured.latencies.is_empty() && measured.latencies.is_sorted());
        }
    }

    #[cfg(target_os = "linux")]
    fn answer_all(mut stream: TcpStream) {
        let mut buffer = [0; 1_024];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    }
}
