//! What this router saw, in windows aligned on the clock. A window has one generation of the route: a new route closes
//! the open window. Between them windows leave no gap: an idle stretch is one long, empty window, so that silence and
//! absence can be told apart.
//!
//! One lock with short sections: a request adds a few counters. Whoever counts late, for a generation that is past,
//! reaches the closed window until it is complete. Complete windows are written down, not under that lock, because many may have to
//! wait, and as text they are a tenth as long.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_stats::Histogram;
use fairway_wire::{Arm, ArmKey, ErrorKind, Pair, PairKey, Reason, Rival, Track, Window};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::config::{ANSWER_BYTES, RouterConfig, TRIAL_WINDOWS_MAX, WINDOWS_BYTES, WINDOWS_MAX, millis, timestamp};
use crate::interner::{Interner, UNKNOWN};

/// An arm in numbers: version ([`UNKNOWN`] for the baseline), group, segment ([`UNKNOWN`] for none), arm of an experiment
/// ([`UNKNOWN`] for none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ArmId {
    pub(crate) version: u32,
    pub(crate) track: Track,
    pub(crate) segment: u32,
    pub(crate) arm: u32,
}

/// A pair in numbers; `against` is a version, or [`UNKNOWN`] for popularity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PairId {
    pub(crate) version: u32,
    pub(crate) against: u32,
    pub(crate) generation: u64,
}

/// Which bin of which feature was hit.
pub(crate) struct FeatureHit {
    pub(crate) name: &'static str,
    pub(crate) bin: usize,
    pub(crate) bins: usize,
}

/// What one request adds to its arm.
#[derive(Default)]
pub(crate) struct Observation {
    /// The user's cell.
    pub(crate) cell: u8,
    pub(crate) error: Option<ErrorKind>,
    pub(crate) slow: bool,
    pub(crate) fallback: Option<Reason>,
    pub(crate) latency_us: Option<u64>,
    pub(crate) features: Vec<FeatureHit>,
    /// The user's place in the experiment, if they are new to it.
    pub(crate) new_user: Option<u16>,
}

/// What a matured exposure adds: the reward of its arm, and of the lists compared in pairs.
pub(crate) struct Matured {
    pub(crate) arm: ArmId,
    pub(crate) generation: u64,
    pub(crate) cell: u8,
    pub(crate) reward: f64,
    /// Reward of the judged list and of the other.
    pub(crate) pairs: Vec<(PairId, f64, f64)>,
}

/// A window that is complete, written as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    seq: u64,
    json: Arc<RawValue>,
}

impl Packed {
    fn new(window: &Window) -> Self {
        let json = to_raw_value(window).expect("a window is lists of numbers and strings");
        Self { seq: window.seq, json: json.into() }
    }

    fn unpacked(&self) -> Window {
        serde_json::from_str(self.json.get()).expect("it was written here")
    }

    fn len(&self) -> usize {
        self.json.get().len()
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

#[derive(Default)]
struct Counts {
    seq: u64,
    start_ms: i64,
    end_ms: i64,
    generation: u64,
    touched: bool,
    arms: HashMap<ArmId, Arm>,
    pairs: HashMap<PairId, Pair>,
    consumed: Option<Histogram>,
    decisions_dropped: u64,
}

struct Inner {
    open: Counts,
    closed: VecDeque<Counts>,
    /// Those that are older and complete.
    packed: VecDeque<Packed>,
    packed_bytes: usize,
    bytes_max: usize,
    /// Number of the newest one that was in an answer to a poll.
    shown: Option<u64>,
    lost: u64,
    /// Length of a window, and of one while a canary has users.
    period_ms: i64,
    trial_ms: i64,
    on_trial: bool,
}

/// The open window and the closed ones that nobody took yet.
pub(crate) struct Windows {
    inner: Mutex<Inner>,
    /// Held by whoever takes closed windows, who must come one after another; it is taken before the other one.
    turn: Mutex<()>,
    lateness_ms: i64,
}

impl Windows {
    pub(crate) fn new(config: &RouterConfig, now_ms: i64) -> Self {
        let period_ms = millis(config.window).max(1);
        let open = Counts { start_ms: now_ms, end_ms: after(now_ms, period_ms), ..Counts::default() };
        Self {
            inner: Mutex::new(Inner {
                open,
                closed: VecDeque::new(),
                packed: VecDeque::new(),
                packed_bytes: 0,
                bytes_max: WINDOWS_BYTES,
                shown: None,
                lost: 0,
                period_ms,
                trial_ms: millis(config.trial_window).clamp(1, period_ms),
                on_trial: false,
            }),
            turn: Mutex::default(),
            lateness_ms: millis(config.lateness),
        }
    }

    /// Counts a request that was answered under `generation`.
    pub(crate) fn observe(&self, now_ms: i64, generation: u64, arm: ArmId, what: Observation) {
        let mut inner = self.lock();
        inner.roll(now_ms);
        let Some(window) = inner.of_generation(generation) else {
            return;
        };
        let arm = window.arms.entry(arm).or_default();
        arm.requests += 1;
        arm.slow += u64::from(what.slow);
        arm.errors_by_cell.record(what.cell, f64::from(u8::from(what.error.is_some())));
        arm.slow_by_cell.record(what.cell, f64::from(u8::from(what.slow)));
        if let Some(kind) = what.error {
            *arm.errors.entry(kind).or_default() += 1;
        }
        if let Some(reason) = what.fallback {
            *arm.fallbacks.entry(reason).or_default() += 1;
        }
        if let Some(micros) = what.latency_us {
            arm.latency.record(micros);
        }
        arm.new_users.extend(what.new_user);
        for hit in what.features {
            match arm.features.get_mut(hit.name) {
                Some(histogram) => histogram.add(hit.bin),
                None => {
                    let mut histogram = Histogram::with_len(hit.bins);
                    histogram.add(hit.bin);
                    arm.features.insert(hit.name.to_owned(), histogram);
                }
            }
        }
    }

    /// Counts an answer that nobody saw, to a request of others.
    pub(crate) fn unseen(&self, now_ms: i64, generation: u64, arm: ArmId, cell: u8, error: bool) {
        let mut inner = self.lock();
        inner.roll(now_ms);
        if let Some(window) = inner.of_generation(generation) {
            window.arms.entry(arm).or_default().unseen.record(cell, error);
        }
    }

    /// Counts matured exposures in the open window.
    pub(crate) fn mature(&self, now_ms: i64, exposures: &[Matured]) {
        let mut inner = self.lock();
        inner.roll(now_ms);
        let open = &mut inner.open;
        for one in exposures {
            open.touched = true;
            let arm = open.arms.entry(one.arm).or_default();
            arm.reward.entry(one.generation).or_default().record(one.cell, one.reward);
            for &(id, judged, other) in &one.pairs {
                let pair = open.pairs.entry(id).or_default();
                pair.difference.record(one.cell, judged - other);
                pair.base.record(one.cell, other);
            }
        }
    }

    /// Counts a consumed item in `bin` of `bins`, if `generation` is still in force.
    pub(crate) fn consumed(&self, now_ms: i64, generation: u64, bin: usize, bins: usize) {
        let mut inner = self.lock();
        inner.roll(now_ms);
        if let Some(window) = inner.of_generation(generation) {
            let histogram = window.consumed.get_or_insert_with(|| Histogram::with_len(bins));
            if histogram.counts().len() == bins {
                histogram.add(bin);
            }
        }
    }

    /// Counts decisions that the log dropped.
    pub(crate) fn dropped(&self, decisions: u64) {
        let mut inner = self.lock();
        inner.open.decisions_dropped += decisions;
        inner.open.touched = true;
    }

    /// Closes the open window, if anything is in it, and goes on under `generation`, which has a canary or not.
    pub(crate) fn begin(&self, now_ms: i64, generation: u64, on_trial: bool) {
        let mut inner = self.lock();
        inner.tick(now_ms);
        if inner.open.generation != generation {
            inner.on_trial = on_trial;
            // Also when nothing was counted yet: somebody may still be at it.
            if inner.open.generation > 0 {
                inner.close(now_ms);
            } else {
                inner.close_now(now_ms);
            }
            inner.open.generation = generation;
            inner.open.end_ms = after(inner.open.start_ms, inner.length());
        }
    }

    /// Hands out the windows that are complete, oldest first.
    pub(crate) fn take(&self, now_ms: i64, names: &WindowNames<'_>) -> Vec<Window> {
        let _turn = self.turn();
        let mut inner = self.lock();
        inner.tick(now_ms);
        let n = self.due(&inner, now_ms);
        let (packed, taken) = (inner.unpack(), inner.closed.drain(..n).collect::<Vec<_>>());
        drop(inner);
        packed.iter().map(Packed::unpacked).chain(taken.into_iter().map(|window| window.named(names))).collect()
    }

    /// Writes down the windows that are complete.
    pub(crate) fn pack(&self, now_ms: i64, names: &WindowNames<'_>) {
        let _turn = self.turn();
        let mut inner = self.lock();
        inner.tick(now_ms);
        let n = self.due(&inner, now_ms);
        let complete: Vec<Counts> = inner.closed.drain(..n).collect();
        drop(inner);
        let packed: Vec<Packed> = complete.into_iter().map(|window| Packed::new(&window.named(names))).collect();
        self.lock().keep(packed);
    }

    /// Forgets the windows up to number `safe` and shows up to `limit` of those after it, oldest first, which stay: as many as fit
    /// into an answer, and one at least.
    pub(crate) fn hand_out(
        &self,
        now_ms: i64,
        safe: Option<u64>,
        limit: usize,
        names: &WindowNames<'_>,
    ) -> Vec<Packed> {
        self.pack(now_ms, names);
        let mut inner = self.lock();
        // A number that was never shown is another incarnation's, and says nothing of these.
        if let Some(safe) = safe.filter(|&safe| inner.shown.is_some_and(|shown| safe <= shown)) {
            inner.forget(safe);
        }
        let mut bytes = 0;
        let fits = |window: &&Packed| {
            let is_first = bytes == 0;
            bytes += window.len();
            is_first || bytes <= ANSWER_BYTES
        };
        let shown: Vec<Packed> = inner.packed.iter().take(limit).take_while(fits).cloned().collect();
        inner.shown = shown.last().map(|window| window.seq).max(inner.shown);
        shown
    }

    /// How many of the closed windows are complete: whoever is still being answered counts under the route that answers, so that
    /// only the windows of a route that is past must wait. One that ends far ahead was closed before the clock was put back.
    fn due(&self, inner: &Inner, now_ms: i64) -> usize {
        let due = |window: &&Counts| {
            window.generation == inner.open.generation
                || window.end_ms.saturating_add(self.lateness_ms) <= now_ms
                || window.end_ms.saturating_sub(now_ms) > inner.period_ms
        };
        inner.closed.iter().take_while(due).count()
    }

    /// Closes the open window and hands out everything.
    pub(crate) fn flush(&self, now_ms: i64, names: &WindowNames<'_>) -> Vec<Window> {
        let _turn = self.turn();
        let mut inner = self.lock();
        inner.tick(now_ms);
        inner.close_now(now_ms);
        let (packed, closed) = (inner.unpack(), std::mem::take(&mut inner.closed));
        drop(inner);
        packed.iter().map(Packed::unpacked).chain(closed.into_iter().map(|window| window.named(names))).collect()
    }

    /// Windows that were dropped because nobody took them.
    pub(crate) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next multiple of the period after `now_ms`.
fn after(now_ms: i64, period_ms: i64) -> i64 {
    now_ms.div_euclid(period_ms).saturating_add(1).saturating_mul(period_ms)
}

impl Inner {
    /// As [`roll`](Self::roll), for a moment that was read just now. If it lies before the open window the clock was put back, and
    /// another window is begun: this one would stay open until that time comes again. Requests do not ask, because they count
    /// under the time at which they came, which may be before a window that was opened meanwhile.
    fn tick(&mut self, now_ms: i64) {
        if self.open.start_ms.saturating_sub(now_ms) > self.period_ms {
            self.replace(now_ms, after(now_ms, self.length()));
        }
        self.roll(now_ms);
    }

    /// Closes the open window if its end has passed; an idle stretch up to now becomes one empty window.
    fn roll(&mut self, now_ms: i64) {
        if now_ms < self.open.end_ms {
            return;
        }
        let period_ms = self.length();
        let aligned = now_ms.div_euclid(period_ms) * period_ms;
        if self.open.touched && self.open.end_ms < aligned {
            let end_ms = self.open.end_ms;
            self.replace(end_ms, aligned);
        }
        self.open.end_ms = aligned;
        self.replace(aligned, aligned + period_ms);
    }

    fn close_now(&mut self, now_ms: i64) {
        if now_ms > self.open.start_ms || self.open.touched {
            self.close(now_ms);
        }
    }

    fn close(&mut self, now_ms: i64) {
        let end_ms = now_ms.max(self.open.start_ms + 1);
        self.open.end_ms = end_ms;
        self.replace(end_ms, after(end_ms, self.length()));
    }

    /// How long the next window is.
    fn length(&self) -> i64 {
        let is_short = self.on_trial && self.packed.len() + self.closed.len() < TRIAL_WINDOWS_MAX;
        if is_short { self.trial_ms } else { self.period_ms }
    }

    fn replace(&mut self, start_ms: i64, end_ms: i64) {
        let (seq, generation) = (self.open.seq + 1, self.open.generation);
        let next = Counts { seq, start_ms, end_ms, generation, ..Counts::default() };
        self.closed.push_back(std::mem::replace(&mut self.open, next));
        if self.packed.len() + self.closed.len() > WINDOWS_MAX {
            self.lose_oldest();
        }
    }

    /// Keeps windows that were written down, as far as there is room.
    fn keep(&mut self, packed: Vec<Packed>) {
        self.packed_bytes += packed.iter().map(Packed::len).sum::<usize>();
        self.packed.extend(packed);
        while self.packed_bytes > self.bytes_max || self.packed.len() > WINDOWS_MAX {
            self.lose_oldest();
        }
    }

    /// Forgets the windows up to this number.
    fn forget(&mut self, safe: u64) {
        while let Some(window) = self.packed.pop_front_if(|window| window.seq <= safe) {
            self.packed_bytes -= window.len();
        }
    }

    fn lose_oldest(&mut self) {
        match self.packed.pop_front() {
            Some(window) => self.packed_bytes -= window.len(),
            None => drop(self.closed.pop_front()),
        }
        self.lost += 1;
    }

    fn unpack(&mut self) -> VecDeque<Packed> {
        self.packed_bytes = 0;
        std::mem::take(&mut self.packed)
    }

    fn of_generation(&mut self, generation: u64) -> Option<&mut Counts> {
        let window = if self.open.generation == generation {
            &mut self.open
        } else {
            self.closed.iter_mut().rev().find(|window| window.generation == generation)?
        };
        window.touched = true;
        Some(window)
    }
}

/// What turns numbers into names again.
pub(crate) struct WindowNames<'a> {
    pub(crate) replica: &'a str,
    pub(crate) versions: &'a Interner,
    pub(crate) segments: &'a Interner,
    pub(crate) arms: &'a Interner,
}

impl WindowNames<'_> {
    fn version(&self, id: u32) -> String {
        self.versions.name(id).to_string()
    }

    fn arm(&self, id: ArmId) -> ArmKey {
        let segment = self.segments.name(id.segment).to_string();
        let arm = self.arms.name(id.arm).to_string();
        ArmKey { digest: self.version(id.version), track: id.track, segment, arm }
    }

    fn pair(&self, id: PairId) -> PairKey {
        let against = match id.against {
            UNKNOWN => Rival::Popularity,
            version => Rival::Stable(self.version(version)),
        };
        PairKey { digest: self.version(id.version), against, generation: id.generation }
    }
}

impl Counts {
    fn named(self, names: &WindowNames<'_>) -> Window {
        let (start, end) = (timestamp(self.start_ms), timestamp(self.end_ms));
        Window {
            generation: self.generation,
            arms: self.arms.into_iter().map(|(id, arm)| (names.arm(id), arm)).collect(),
            pairs: self.pairs.into_iter().map(|(id, pair)| (names.pair(id), pair)).collect(),
            consumed: self.consumed,
            decisions_dropped: self.decisions_dropped,
            ..Window::new(names.replica, self.seq, start, end)
        }
    }
}

#[cfg(test)]
mod tests;
