//! temp
use fairway_model::{Bundle, BundleManifest, Ease, Vocabulary};
use fairway_server::*;
use fairway_wire::*;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn cpu_ns() -> u64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    let n = 4600usize;
    let names: Vec<String> = (0..n).map(|i| format!("{i:05}")).collect();
    let items = Vocabulary::from_names(names.clone());
    let weights = (0..n * n).map(|i| ((i as f32) * 0.731).sin()).collect();
    let bundle = Arc::new(Bundle {
        manifest: BundleManifest::default(),
        recommender: Box::new(Ease::new(items, weights).unwrap()),
        profile: Profile::default(),
    });
    let clock: Clock = Arc::new(jiff::Timestamp::now);
    let router = Router::new(RouterConfig::default(), clock, Pseudonyms::new(b"k"));
    let t = Target { version: 1, digest: "sha256:1".into() };
    let t2 = Target { version: 2, digest: "sha256:2".into() };
    router.install(&t, Arc::new(Builtin(bundle.clone())), Arc::new(Profile::default()));
    router.install(&t2, Arc::new(Builtin(bundle.clone())), Arc::new(Profile::default()));
    router.set_route(Route {
        generation: 1,
        stable: Some(t),
        canary: Some(Canary { target: t2, weight: Weight::from_percent(25), segments: vec![], shadow: false }),
        salt: "s".into(),
        holdback: Weight::from_percent(2),
        serve_baseline: false,
        slow_over_ms: 50,
        deadline_ms: 100,
        lease_until: None,
    });
    let users: Vec<String> = (0..2000).map(|i| format!("user-{i}")).collect();
    let now = jiff::Timestamp::now();
    let rows: Vec<_> = (0..2000 * 80).map(|i| (i / 80, (i * 7919 + i / 80 * 31) % n)).collect();
    let t0 = Instant::now();
    router.seed(rows.iter().map(|&(u, i)| (&*users[u], &*names[i], now, Some("UK"))));
    eprintln!("seed {} rows {:?}", rows.len(), t0.elapsed());
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut lat = vec![];
    let c0 = cpu_ns();
    let total = 20000;
    rt.block_on(async {
        for i in 0..total {
            let t = Instant::now();
            let r = RecommendRequest {
                user: users[i % 2000].clone(),
                k: 20,
                context: Context::of_segment("UK"),
                exclude: vec![],
            };
            router.recommend(r).await.unwrap();
            lat.push(t.elapsed().as_micros() as u64);
            if i % 5000 == 0 {
                router.take_decisions();
                router.take_windows();
            }
        }
    });
    lat.sort();
    eprintln!(
        "in process: cpu/request {} us, p50 {} p99 {} us",
        (cpu_ns() - c0) / total as u64 / 1000,
        lat[total / 2],
        lat[total * 99 / 100]
    );
    // real HTTP
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let (s2, r2) = (stop.clone(), router.clone());
    let server = std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let c0 = cpu_ns();
        rt.block_on(async {
            serve_public(tokio::net::TcpListener::from_std(listener).unwrap(), r2, s2).await.unwrap()
        });
        cpu_ns() - c0
    });
    let per = 3000;
    let t0 = Instant::now();
    let clients: Vec<_> = (0..8).map(|c| std::thread::spawn(move || {
        let mut s = std::net::TcpStream::connect(addr).unwrap();
        s.set_nodelay(true).unwrap();
        let mut lat = vec![];
        let mut buf = vec![0u8; 65536];
        for i in 0..per {
            let body = format!("{{\"user\":\"user-{}\",\"k\":20,\"context\":{{\"segment\":\"UK\"}}}}", (i * 8 + c) % 2000);
            let req = format!("POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", body.len(), body);
            let t = Instant::now();
            s.write_all(req.as_bytes()).unwrap();
            let mut got = 0;
            loop {
                got += s.read(&mut buf[got..]).unwrap();
                if let Some(h) = buf[..got].windows(4).position(|w| w == b"\r\n\r\n") {
                    let head = std::str::from_utf8(&buf[..h]).unwrap();
                    assert!(head.starts_with("HTTP/1.1 200"));
                    let len: usize = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
                    if got >= h + 4 + len { break; }
                }
            }
            lat.push(t.elapsed().as_micros() as u64);
        }
        lat
    })).collect();
    let mut lat: Vec<u64> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
    let wall = t0.elapsed();
    stop.cancel();
    let cpu = server.join().unwrap();
    lat.sort();
    let m = lat.len();
    eprintln!(
        "http closed loop x8: {:.0} rps wall, server cpu/request {} us -> {} rps/core; p50 {} p99 {} us",
        m as f64 / wall.as_secs_f64(),
        cpu / m as u64 / 1000,
        1_000_000_000 / (cpu / m as u64),
        lat[m / 2],
        lat[m * 99 / 100]
    );
    let _ = Duration::ZERO;
    let t0 = Instant::now();
    let snap = router.snapshot();
    eprintln!("snapshot {} bytes {:?}", snap.len(), t0.elapsed());
}
