//! The shop's visitors as real HTTP load: an open loop at the shop's own rate under whatever clock is given, with a
//! bounded number of visitors at once. When the endpoint or the machine is too slow, visits are left out and counted;
//! they never queue up. It judges nothing: it reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairway_wire::{Context, Event, EventKind, RecommendRequest, RecommendResponse};
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Endpoint;
use crate::pace::Pace;
use crate::report::Tally;
use crate::{Error, LoadReport, Purchase, Shop, Transaction, TransactionWriter, Visit};

/// How many items a visitor asks for.
const LIST_LENGTH: usize = 20;
/// Visits waiting for a worker, for each worker.
const WAITING_PER_WORKER: usize = 4;
/// How often (real time) it is looked which visits are due.
const TICK: Duration = Duration::from_millis(2);
/// How often (real time) transactions are written.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Transactions on their way to the writer.
const ROWS_WAITING_MAX: usize = 10_000;

/// A shop's visitors on their way to an endpoint. Consumed by [`Load::run`]; [`Load::handle`] stays.
pub struct Load {
    workers: usize,
    writer: Option<TransactionWriter>,
    visitors: Visitors,
}

/// Reads the report and turns the load up and down while it runs. Clones see the same load.
#[derive(Clone)]
pub struct LoadHandle {
    tally: Arc<Mutex<Tally>>,
    factor: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Visitors {
    endpoint: Endpoint,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    shop: Arc<Mutex<Shop>>,
    handle: LoadHandle,
    /// One permit for each visit that is due and has no worker yet.
    waiting: Arc<Semaphore>,
}

impl Load {
    /// The visitors of `shop`, on their way to `base_url` (`http://host:port`), at most `workers` (1 to 1,024) at
    /// once. `clock` tells the simulated time, the same one that the endpoint lives in.
    pub fn new(
        base_url: &str,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        shop: Shop,
        workers: usize,
    ) -> Result<Self, Error> {
        let workers = workers.clamp(1, 1_024);
        let handle = LoadHandle {
            tally: Arc::new(Mutex::new(Tally::new(shop.config().seed))),
            factor: Arc::new(AtomicU64::new(1.0_f64.to_bits())),
        };
        let visitors = Visitors {
            endpoint: Endpoint::new(base_url, workers)?,
            clock: Arc::new(clock),
            shop: Arc::new(Mutex::new(shop)),
            handle,
            waiting: Arc::new(Semaphore::new(0)),
        };
        Ok(Self { workers, writer: None, visitors })
    }

    /// Has the purchases written as well.
    pub fn with_writer(mut self, writer: TransactionWriter) -> Self {
        self.writer = Some(writer);
        self
    }

    /// A handle that stays valid while and after the load runs.
    pub fn handle(&self) -> LoadHandle {
        self.visitors.handle.clone()
    }

    /// The load so far.
    pub fn report(&self) -> LoadReport {
        self.visitors.handle.report()
    }

    /// Sends visitors until `stop`, then lets those on their way finish (each request within 2 s) and writes the
    /// last transactions.
    pub async fn run(self, stop: CancellationToken) {
        let (rows, incoming) = mpsc::channel(ROWS_WAITING_MAX);
        let writing = tokio::spawn(write(incoming, self.writer, self.visitors.handle.clone()));
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(self.visitors.clone().work(rows.clone(), stop.clone()));
        }
        drop(rows);
        self.visitors.pace(self.workers * WAITING_PER_WORKER, &stop).await;
        while let Some(ended) = workers.join_next().await {
            if let Err(why) = ended {
                tracing::error!(%why, "a worker of the load ended early");
            }
        }
        if let Err(why) = writing.await {
            tracing::error!(%why, "the writer of transactions ended early");
        }
    }
}

impl LoadHandle {
    /// The load so far.
    pub fn report(&self) -> LoadReport {
        self.tally().report()
    }

    /// Multiplies the shop's visits a day by `factor` from now on; anything but a number of at least 0 counts as 0.
    pub fn set_factor(&self, factor: f64) {
        let factor = if factor.is_finite() { factor.max(0.0) } else { 0.0 };
        self.factor.store(factor.to_bits(), Ordering::Relaxed);
    }

    /// The factor in force; 1 at first.
    pub fn factor(&self) -> f64 {
        f64::from_bits(self.factor.load(Ordering::Relaxed))
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.tally)
    }
}

impl Visitors {
    /// Makes visits due, at most `waiting_max` of them before a worker takes one.
    async fn pace(&self, waiting_max: usize, stop: &CancellationToken) {
        let mut pace = Pace::new((self.clock)());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = (self.clock)();
            let per_day = locked(&self.shop).visits_per_day(now) * self.handle.factor();
            let due = pace.due(now, per_day);
            let room = waiting_max.saturating_sub(self.waiting.available_permits());
            let taken = usize::try_from(due).unwrap_or(usize::MAX).min(room);
            self.waiting.add_permits(taken);
            if due > taken as u64 {
                self.handle.tally().late(due - taken as u64);
            }
        }
    }

    async fn work(self, rows: mpsc::Sender<Transaction>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                permit = self.waiting.acquire() => match permit {
                    Ok(permit) => permit.forget(),
                    Err(_) => return,
                },
            }
            for row in self.visit().await {
                if rows.send(row).await.is_err() {
                    return;
                }
            }
        }
    }

    /// One visit, from coming in to the receipt.
    async fn visit(&self) -> Vec<Transaction> {
        let visit = locked(&self.shop).visit((self.clock)());
        self.handle.tally().visit();
        let answer = self.ask(&visit).await;
        let shown: Vec<String> = answer.iter().flat_map(|answer| &answer.items).map(|item| item.item.clone()).collect();
        let now = (self.clock)();
        let bought = locked(&self.shop).buy(&visit, &shown, now);
        if bought.is_empty() {
            return Vec::new();
        }
        self.tell(&visit, &bought, answer.as_ref(), now).await;
        bought.into_iter().map(|purchase| visit.transaction(purchase, now)).collect()
    }

    async fn ask(&self, visit: &Visit) -> Option<RecommendResponse> {
        let context = Context::of_segment(&visit.segment);
        let request = RecommendRequest { user: visit.user.clone(), k: LIST_LENGTH, context, exclude: Vec::new() };
        let asked = Instant::now();
        let answer = self.endpoint.recommend(&request).await;
        let mut tally = self.handle.tally();
        match answer {
            Ok(answer) => {
                tally.list(visit.index, &answer, asked.elapsed());
                Some(answer)
            }
            Err(why) => {
                tally.failed(why);
                None
            }
        }
    }

    async fn tell(&self, visit: &Visit, bought: &[Purchase], answer: Option<&RecommendResponse>, now: Timestamp) {
        let events: Vec<Event> = bought.iter().map(|purchase| event(visit, purchase, answer, now)).collect();
        let told = self.endpoint.events(&events).await;
        let from_list = bought.iter().filter(|purchase| purchase.rank.is_some()).count() as u64;
        let mut tally = self.handle.tally();
        tally.bought(from_list, bought.len() as u64 - from_list, answer.map(|answer| answer.version));
        match told {
            Ok(()) => tally.answered(),
            Err(why) => tally.failed(why),
        }
    }
}

/// What the endpoint hears of a purchase. Only what was bought from the list names the list.
fn event(visit: &Visit, purchase: &Purchase, answer: Option<&RecommendResponse>, now: Timestamp) -> Event {
    Event {
        user: visit.user.clone(),
        item: purchase.item.clone(),
        kind: EventKind::Purchase,
        time: Some(now),
        decision: answer.filter(|_| purchase.rank.is_some()).map(|answer| answer.decision.clone()),
        segment: Some(visit.segment.clone()),
        id: Some(format!("{}/{}/{}", visit.user, purchase.item, now.as_millisecond())),
    }
}

/// Takes rows until all senders are gone, and writes them every [`WRITE_EVERY`].
async fn write(mut incoming: mpsc::Receiver<Transaction>, writer: Option<TransactionWriter>, handle: LoadHandle) {
    let Some(mut writer) = writer else {
        while incoming.recv().await.is_some() {}
        return;
    };
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let open = tokio::select! {
            row = incoming.recv() => {
                if let Some(row) = row {
                    writer.push(row);
                    continue;
                }
                false
            }
            _ = ticks.tick() => true,
        };
        // The disk may be slow; the visitors' threads should not wait for it.
        let flushed = tokio::task::spawn_blocking(move || {
            let result = writer.flush();
            (writer, result)
        });
        let Ok((back, result)) = flushed.await else {
            return;
        };
        writer = back;
        if let Err(why) = result {
            tracing::warn!(%why, buffered = writer.buffered(), "transactions are kept back");
        }
        handle.tally().rows(writer.written(), writer.lost());
        if !open {
            return;
        }
    }
}

/// Locks what a panicking thread may have left: counts and draws are whole after every statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
