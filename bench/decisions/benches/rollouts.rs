//! Fairway's rollouts beside those of Argo Rollouts, Flagger and Kayenta on the same traffic: false rollbacks of good
//! candidates, and who meets harmful ones.

use std::time::Instant;

use fairway_bench_decisions::exposure::Cost;
use fairway_bench_decisions::plan::Plan;
use fairway_bench_decisions::report::{
    self, bar, harm_row, mean, median, per_thousand, print_table, rolled_back, users,
};
use fairway_bench_decisions::table::{Split, Table};
use fairway_bench_decisions::traffic::{Crowd, ERRORS, GOALS, GOOD, HARMS, Harm, LATER, REWARD, Traffic, USERS};
use fairway_bench_decisions::tuning::{Setting, Tuned, most_false, tune};
use fairway_bench_decisions::{fairway, measures, setting, threads};
use fairway_core::policy::PolicyError;

const HELP: &str = "FAIRWAY_BENCH_ROLLOUTS  rollouts of a good candidate (1,000); each harm has a quarter of them
FAIRWAY_BENCH_TUNING    rollouts of a good candidate on which the peers are tuned (600); each harm has a tenth
FAIRWAY_BENCH_HOLD      minutes of each of the three steps (240)
FAIRWAY_BENCH_FALSE     false rollbacks per 1,000 that the tuned peers may have (50)
FAIRWAY_BENCH_PARTS     what is run, of: clumps clumped even later harms (all)";

/// Users exposed by the best peer, over those exposed by Fairway.
const BAR: f64 = 3.0;
/// Fairway's false rollbacks at most: what its policy declares.
const FALSE: f64 = fairway::FALSE_ALARMS;

fn main() -> Result<(), PolicyError> {
    if !measures(HELP) {
        return Ok(());
    }
    let begun = Instant::now();
    let plan = Plan::from_environment();
    let (good, tuning) = (setting("FAIRWAY_BENCH_ROLLOUTS", 1_000), setting("FAIRWAY_BENCH_TUNING", 600));
    println!(
        "{USERS} users, 200,000 requests a day by the hour, errors {:.0} %, reward {REWARD}; steps 5, 25, 50 % of {} minutes; \
         {good} rollouts of a good candidate, {} of each harm; peers tuned to {:.1} % on {tuning} and {} of three harms each",
        100.0 * ERRORS,
        plan.hold,
        good.div_ceil(4),
        100.0 * most_false(),
        tuning.div_ceil(10),
    );
    if wanted("clumps") {
        clumps(plan, good.div_ceil(2) as usize)?;
    }
    for (part, crowd) in [("clumped", Crowd::Clumped), ("even", Crowd::Even)] {
        if !wanted(part) {
            continue;
        }
        Comparison::new(plan, crowd, tuning as usize).print(good as usize)?;
        println!("\n{:.0} s so far", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn wanted(part: &str) -> bool {
    std::env::var("FAIRWAY_BENCH_PARTS").map_or(true, |parts| parts.split_whitespace().any(|one| one == part))
}

/// Fairway's false rollbacks, the more the errors clump.
fn clumps(plan: Plan, good: usize) -> Result<(), PolicyError> {
    let clumped = ("4 % of the users have half of the errors", Crowd::Clumped);
    let broken = ("1 % of the users have 80 % of the errors", Crowd::Broken);
    let cases = [(broken, fairway::ERRORS), (("every request alike", Crowd::Even), 0.0), (clumped, 0.0), (broken, 0.0)];
    let mut rows = Vec::new();
    for ((name, crowd), tolerance) in cases {
        let found = threads::each(good, |nth| {
            let traffic = Traffic::new(plan, crowd, GOOD, 10_000_000 + nth as u64);
            fairway::follow_both(plan, tolerance, &traffic)
        });
        let found: Vec<[fairway::Followed; 2]> = found.into_iter().collect::<Result<_, _>>()?;
        let by = |which: usize, gate: &str| found.iter().filter(|both| both[which].why == gate).count();
        let gates = |which| format!("{} / {}", by(which, "errors"), by(which, "reward"));
        let back = |which: usize| {
            let count = found.iter().filter(|both| both[which].ended.rolled_back.is_some()).count();
            report::share_per_thousand(count, good)
        };
        rows.push(vec![
            name.to_owned(),
            format!("{:.0} %", 100.0 * tolerance),
            format!("{:.2}", median(found.iter().map(|both| both[1].design_effect))),
            back(0),
            gates(0),
            back(1),
            gates(1),
        ]);
    }
    let title = format!("Fairway, a good candidate, {good} rollouts: false rollbacks per 1,000 (95 %); declared: 50");
    let header = [
        "errors",
        "tolerance of errors",
        "design effect, median",
        "Fairway",
        "rollouts ended by errors / reward",
        "if windows only counted errors",
        "rollouts ended by errors / reward",
    ];
    print_table(&title, &header, &rows);
    Ok(())
}

/// Fairway with the tolerances of the design's example, 10 % of errors and 2 % of reward; with none; and with the example's,
/// but by windows that do not tell errors by cell of users.
const OURS: [&str; 3] = ["Fairway", "Fairway, tolerances 0 %", "Fairway, if windows only counted errors"];

/// A peer in the comparison.
struct Peer {
    label: String,
    split: Split,
    setting: Setting,
}

struct Comparison {
    plan: Plan,
    crowd: Crowd,
    peers: Vec<Peer>,
    /// The number of peers that are as documented.
    examples: usize,
    /// Tuned for one harm alone: by harm of the bar.
    alone: Vec<Vec<Peer>>,
}

/// Of one rollout: costs of all methods, of the peers tuned for one harm alone, the design effect, and Fairway's reason.
type Rollout = (Vec<Cost>, Vec<Cost>, f64, String);

/// What each method made of many rollouts of one candidate.
struct Found {
    /// Those of [`OURS`], then the peers.
    costs: Vec<Vec<Cost>>,
    alone: Vec<Vec<Cost>>,
    design_effect: f64,
    why: Vec<String>,
}

impl Comparison {
    fn new(plan: Plan, crowd: Crowd, tuning: usize) -> Self {
        let name = if crowd == Crowd::Clumped { "Errors and rewards clump by user" } else { "Every request alike" };
        println!("\n## {name}\n\nTuned:\n");
        let example =
            |setting: Setting| Peer { label: format!("{}, example", setting.tool()), split: Split::Requests, setting };
        let mut peers: Vec<Peer> = Setting::examples().into_iter().map(example).collect();
        let examples = peers.len();
        let mut alone: Vec<Vec<Peer>> = GOALS.iter().map(|_| Vec::new()).collect();
        for (split, by) in [(Split::Requests, "split by request"), (Split::Users, "split by user")] {
            let Tuned { together, alone: best, tried } = tune(plan, crowd, split, tuning, tuning.div_ceil(10));
            println!("- {by}, the best of {tried} settings and of all their limits:");
            let label = |setting: &Setting| format!("{}, tuned, {by}", setting.tool());
            let peer = |setting: Setting| Peer { label: label(&setting), split, setting };
            together.iter().for_each(|setting| println!("  - {}: {}", setting.tool(), setting.name()));
            peers.extend(together.into_iter().map(peer));
            alone.iter_mut().zip(best).for_each(|(peers, best)| peers.extend(best.into_iter().map(peer)));
        }
        Self { plan, crowd, peers, examples, alone }
    }

    /// All methods on the same rollouts of one candidate.
    fn run(&self, harm: Harm, first_seed: u64, count: usize, alone: &[Peer]) -> Result<Found, PolicyError> {
        let rollouts = threads::each(count, |nth| {
            let traffic = Traffic::new(self.plan, self.crowd, harm, first_seed + nth as u64);
            let (by_user, by_request) = (Table::new(&traffic, Split::Users), Table::new(&traffic, Split::Requests));
            let table = |split| if split == Split::Users { &by_user } else { &by_request };
            let [ours, counted] = fairway::follow_both(self.plan, fairway::ERRORS, &traffic)?;
            let strict = fairway::follow_strictly(self.plan, &traffic)?;
            let cost = |ended: &fairway_bench_decisions::exposure::Ended, split| {
                ended.cost(self.plan, &traffic, table(split), split)
            };
            let peer = |peer: &Peer| cost(&peer.setting.run(self.plan, table(peer.split)), peer.split);
            let mut costs: Vec<Cost> = [&ours, &strict, &counted].map(|it| cost(&it.ended, Split::Users)).to_vec();
            costs.extend(self.peers.iter().map(peer));
            Ok((costs, alone.iter().map(peer).collect(), counted.design_effect, ours.why))
        });
        let rollouts = rollouts.into_iter().collect::<Result<Vec<Rollout>, PolicyError>>()?;
        let column = |nth: usize| rollouts.iter().map(|rollout| rollout.0[nth]).collect();
        let alone_column = |nth: usize| rollouts.iter().map(|rollout| rollout.1[nth]).collect();
        Ok(Found {
            costs: (0..self.peers.len() + OURS.len()).map(column).collect(),
            alone: (0..alone.len()).map(alone_column).collect(),
            design_effect: median(rollouts.iter().map(|rollout| rollout.2)),
            why: rollouts.into_iter().map(|rollout| rollout.3).collect(),
        })
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        OURS.into_iter().chain(self.peers.iter().map(|peer| peer.label.as_str()))
    }

    fn print(&self, good: usize) -> Result<(), PolicyError> {
        let found = self.run(GOOD, 0, good, &[])?;
        let rows = self.labels().zip(&found.costs).map(|(label, costs)| {
            let per_thousand_of = |is: fn(&Cost) -> bool| {
                format!("{:.0}", 1_000.0 * mean(costs.iter().map(|cost| f64::from(u8::from(is(cost))))))
            };
            let hours = median(costs.iter().filter_map(|cost| cost.promoted).map(|minutes| minutes as f64 / 60.0));
            vec![
                label.to_owned(),
                per_thousand(costs),
                per_thousand_of(|cost| cost.in_bake),
                per_thousand_of(|cost| !cost.rolled_back && cost.promoted.is_none()),
                format!("{hours:.1} h"),
            ]
        });
        let title = format!("A good candidate, {good} rollouts");
        let header = [
            "method",
            "false rollbacks per 1,000 (95 %)",
            "of which after the promotion",
            "neither promoted nor rolled back",
            "promoted after, median",
        ];
        print_table(&title, &header, &rows.collect::<Vec<_>>());
        let by = |gate: &str| found.why.iter().filter(|why| *why == gate).count();
        println!(
            "\nFairway's false rollbacks: {} by errors, {} by reward. Design effect of errors at the end: {:.2} (median).",
            by("errors"),
            by("reward"),
            found.design_effect
        );
        if wanted("later") {
            self.later(good.div_ceil(4))?;
        }
        if !wanted("harms") {
            return Ok(());
        }
        let mut harms = Vec::new();
        for (nth, harm) in HARMS.into_iter().enumerate() {
            let goal = GOALS.iter().position(|goal| *goal == nth);
            let alone = goal.map_or(&[][..], |goal| &self.alone[goal]);
            let harmed = self.run(harm, 100_000 * (1 + nth as u64), good.div_ceil(4), alone)?;
            let rows = self.labels().zip(&harmed.costs).map(|(label, costs)| {
                let mut row = vec![label.to_owned()];
                row.extend(harm_row(costs));
                row
            });
            let title = format!("{}, {} rollouts", harm.name, good.div_ceil(4));
            let header =
                ["method", "rolled back", "users exposed, mean", "median", "time until then, median", "errors served"];
            print_table(&title, &header, &rows.collect::<Vec<_>>());
            harms.push(harmed);
        }
        self.bars(&found, &harms);
        Ok(())
    }

    /// The settings stay, and the errors of both versions rise.
    fn later(&self, count: usize) -> Result<(), PolicyError> {
        let found = self.run(LATER, 20_000_000, count, &[])?;
        let rows = self.labels().zip(&found.costs).map(|(label, costs)| vec![label.to_owned(), per_thousand(costs)]);
        let title = format!("A good candidate while both versions have 1.5 % errors, same settings, {count} rollouts");
        print_table(&title, &["method", "false rollbacks per 1,000 (95 %)"], &rows.collect::<Vec<_>>());
        Ok(())
    }

    fn bars(&self, good: &Found, harms: &[Found]) {
        println!("\nBars:\n");
        for (nth, label) in OURS.into_iter().enumerate() {
            let rate = rolled_back(&good.costs[nth]);
            bar(&format!("{label}: at most 5 % false rollbacks: {:.1} %", 100.0 * rate), rate <= FALSE);
            for (goal, harm) in GOALS.into_iter().enumerate() {
                let ours = users(&harms[harm].costs[nth]);
                for (split, by) in
                    [(Split::Requests, "as published, split by request"), (Split::Users, "lent our split by user")]
                {
                    let tuned = self.peers.iter().zip(&harms[harm].costs[OURS.len()..]).skip(self.examples);
                    let (best, peer) = best(tuned, split);
                    let (alone, _) = best_alone(&self.alone[goal], &harms[harm].alone, split);
                    let what = format!(
                        "{label}: {}: {ours:.0} users; best tuned peer {by}: {best:.0} ({peer}), {:.2} times; tuned for this \
                         harm alone {alone:.0}, {:.2} times; bar {BAR:.0}",
                        HARMS[harm].name,
                        best / ours,
                        alone / ours
                    );
                    bar(&what, best >= BAR * ours);
                }
            }
        }
    }
}

/// The fewest users that a peer with this split exposed, and which peer that was.
fn best<'a>(peers: impl Iterator<Item = (&'a Peer, &'a Vec<Cost>)>, split: Split) -> (f64, &'a str) {
    let of_split = peers.filter(|(peer, _)| peer.split == split);
    let all = of_split.map(|(peer, costs)| (users(costs), peer.setting.tool()));
    all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, "none"))
}

fn best_alone<'a>(peers: &'a [Peer], costs: &'a [Vec<Cost>], split: Split) -> (f64, &'a str) {
    best(peers.iter().zip(costs), split)
}
