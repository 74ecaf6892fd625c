//! What a decision costs: time of a look at an endpoint in a rollout and at a model, of looks at ten thousand of each, and
//! heap per object.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fairway_bench_decisions::objects::{
    Endpoint, SEGMENTS, endpoint_policy, model_observed, model_policy, watching_model,
};
use fairway_bench_decisions::plan::Plan;
use fairway_bench_decisions::report::{bar, median, print_table};
use fairway_bench_decisions::{measures, setting};
use fairway_core::endpoint::{self, EndpointStatus};
use fairway_core::model::{self, ModelStatus};
use fairway_core::policy::{EndpointPolicy, ModelPolicy};
use fairway_stats::Cells;
use fairway_wire::{Profile, Target, Window};

const HELP: &str = "FAIRWAY_BENCH_OBJECTS  models and endpoints that are decided again (10,000)
FAIRWAY_BENCH_ROUNDS   rounds of 10 looks, of which the median is told (3,000)
FAIRWAY_BENCH_HOLD     minutes of each of the rollout's three steps (240)";
/// Bars: a look, all objects, heap per object.
const LOOK_BAR_US: f64 = 20.0;
const ALL_BAR_S: f64 = 1.0;
const HEAP_BAR_KIB: f64 = 20.0;
/// Few, so that most rounds are over before anybody else gets the core.
const LOOKS: usize = 10;

/// Counts the bytes that are in use.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's work; only counters are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !measures(HELP) {
        return Ok(());
    }
    let plan = Plan::from_environment();
    let (policy, model) = (endpoint_policy(plan)?, model_policy());
    let (idle, rollout) = (Endpoint::idle(&policy), Endpoint::in_rollout(&policy, plan));
    assert!(rollout.status.rollout.as_ref().is_some_and(|rollout| rollout.step == 2), "it is on its last step");
    let watching = watching_model(&model, &idle);
    println!(
        "{SEGMENTS} segments; gates: errors 10 %, slow 20 %, reward 2 %, errors 20 %, reward .01; a window has {} arms",
        rollout.next_window().arms.len()
    );
    looks(&policy, &model, &idle, &rollout, &watching);
    fleet(&policy, &model, &idle, &watching);
    heap(&idle, &rollout, &watching.0);
    Ok(())
}

/// Microseconds of one call: the median of the rounds, the quickest round, and allocations.
fn time<T>(call: impl Fn() -> T) -> [f64; 3] {
    let rounds = setting("FAIRWAY_BENCH_ROUNDS", 3_000);
    let calls = CALLS.load(Ordering::Relaxed);
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            (0..LOOKS).for_each(|_| drop(black_box(call())));
            begun.elapsed().as_secs_f64() * 1e6 / LOOKS as f64
        })
        .collect();
    let calls = CALLS.load(Ordering::Relaxed) - calls;
    let best = times.iter().copied().fold(f64::INFINITY, f64::min);
    [median(times.into_iter()), best, calls as f64 / (rounds as usize * LOOKS) as f64]
}

fn looks(
    policy: &EndpointPolicy,
    model: &ModelPolicy,
    idle: &Endpoint,
    rollout: &Endpoint,
    watching: &(ModelStatus, Target, Profile),
) {
    let at = |endpoint: &Endpoint, windows: &[Window]| {
        time(|| endpoint::decide(policy, &endpoint.inputs.with(&endpoint.status, windows), endpoint.now + MINUTE))
    };
    let (status, target, profile) = watching;
    let model_at = |endpoint: &Endpoint, windows: &[Window], active: bool| {
        let now = status.signal.unwrap_or(endpoint.now) + MINUTE;
        time(|| model::decide(model, &model_observed(status, target, profile, windows, active), now))
    };
    let (of_idle, of_rollout) = ([idle.next_window()], [rollout.next_window()]);
    let mut arm = Cells::new();
    (0..20_000_u32).for_each(|nth| arm.record((nth * 37) as u8, f64::from(u8::from(nth % 5 == 0))));
    let rows = [
        ("endpoint in a rollout, one window", at(rollout, &of_rollout)),
        ("endpoint in a rollout, no window", at(rollout, &[])),
        ("its status cloned and dropped", time(|| rollout.status.clone())),
        ("idle endpoint, one window", at(idle, &of_idle)),
        ("idle endpoint, no window", at(idle, &[])),
        ("model during a rollout, one window", model_at(rollout, &of_rollout, true)),
        ("model, one window", model_at(idle, &of_idle, false)),
        ("model, no window", model_at(idle, &[], false)),
        ("mean, error and occupied cells of an arm", time(|| black_box(&arm).measure())),
        ("cells of an arm cloned, and another's added", time(|| both(black_box(&arm)))),
    ];
    let cells = rows.map(|(name, [middle, best, calls])| {
        vec![name.to_owned(), format!("{middle:.1}"), format!("{best:.1}"), format!("{calls:.0}")]
    });
    print_table("One look", &["what", "median µs", "best µs", "allocations"], &cells);
    println!();
    for nth in [0, 5] {
        let (name, [middle, ..]) = rows[nth];
        bar(&format!("{name}: {middle:.1} µs, bar {LOOK_BAR_US:.0}"), middle < LOOK_BAR_US);
    }
}

fn both(arm: &Cells) -> Cells {
    let mut sum = arm.clone();
    sum.merge(arm);
    sum
}

const MINUTE: Duration = Duration::from_secs(60);

/// Every model and every endpoint is looked at once, on one core.
fn fleet(
    policy: &EndpointPolicy,
    model: &ModelPolicy,
    idle: &Endpoint,
    (status, target, profile): &(ModelStatus, Target, Profile),
) {
    let count = setting("FAIRWAY_BENCH_OBJECTS", 10_000) as usize;
    let mut objects: Vec<(EndpointStatus, ModelStatus)> = vec![(idle.status.clone(), status.clone()); count];
    let now = status.signal.unwrap_or(idle.now) + MINUTE;
    let mut window = idle.next_window();
    window.end = now;
    let mut measured = Vec::new();
    for windows in [&[][..], &[window]] {
        let mut times = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            for (endpoint, status) in &mut objects {
                let plan = endpoint::decide(policy, &idle.inputs.with(endpoint, windows), now);
                let model = model::decide(model, &model_observed(status, target, profile, windows, false), now);
                // A window that was heard counts only once, so what was there before is looked at again.
                black_box((plan, model));
            }
            times.push(begun.elapsed().as_secs_f64());
        }
        measured.push(median(times.into_iter()));
    }
    let row = |name: &str, seconds: f64| vec![name.to_owned(), format!("{seconds:.3}")];
    let rows = [row("no window", measured[0]), row("one window each", measured[1])];
    print_table(
        &format!("{count} idle models and endpoints, once each, one core"),
        &["windows", "median s of 7"],
        &rows,
    );
    println!();
    let all = format!("{count} of each, one window each: {:.2} s, bar {ALL_BAR_S:.0}", measured[1]);
    bar(&all, measured[1] < ALL_BAR_S);
}

/// Bytes of heap of a copy, with what is in place.
fn bytes<T: Clone>(object: &T) -> f64 {
    const COPIES: usize = 200;
    let mut copies = Vec::with_capacity(COPIES);
    let before = LIVE.load(Ordering::Relaxed);
    (0..COPIES).for_each(|_| copies.push(object.clone()));
    let after = LIVE.load(Ordering::Relaxed);
    black_box(&copies);
    (after - before) as f64 / COPIES as f64 + size_of::<T>() as f64
}

fn heap(idle: &Endpoint, rollout: &Endpoint, model: &ModelStatus) {
    let kib = |bytes: f64| bytes / 1024.0;
    let of_idle = kib(bytes(&idle.status) + bytes(model));
    let of_rollout = kib(bytes(&rollout.status) + bytes(model));
    let row = |name: &str, kib: f64| vec![name.to_owned(), format!("{kib:.1}")];
    let evidence = rollout.status.rollout.as_ref().map_or(0.0, |rollout| kib(bytes(&rollout.evidence)));
    let rows = [
        row("idle: EndpointStatus and ModelStatus", of_idle),
        row("in a rollout: the same", of_rollout),
        row("of which EndpointStatus, idle", kib(bytes(&idle.status))),
        row("of which EndpointStatus, in a rollout", kib(bytes(&rollout.status))),
        row("of which the rollout's evidence", evidence),
        row("of which ModelStatus", kib(bytes(model))),
        row("of which its monitor of degradation", kib(bytes(&model.degradation))),
        row("of which its monitor of drift", kib(bytes(&model.drift))),
        row("beside these, a window of the rollout", kib(bytes(&rollout.next_window()))),
    ];
    print_table("Memory of an object", &["what", "KiB"], &rows);
    println!();
    bar(&format!("idle: {of_idle:.1} KiB, bar {HEAP_BAR_KIB:.0}"), of_idle < HEAP_BAR_KIB);
    bar(&format!("in a rollout: {of_rollout:.1} KiB, bar {HEAP_BAR_KIB:.0}"), of_rollout < HEAP_BAR_KIB);
}
