//! Incidents of other tools, as tests of the decisions. The name of a test says the thread; its comment says what happened
//! there, where, and what ours must do. `docs/incidents.md` is the same for users.
//!
//! A test that is ignored shows what ours does wrong still; the reason says what. What the decisions cannot answer is below,
//! with the layer that has to, so that nothing is left out in silence. A layer in brackets does not exist here yet.
//!
//! | Thread | What happened | Layer |
//! |---|---|---|
//! | argo-rollouts#1904, #3080, #5052, #2929 | "the object has been modified": two writers of one object | [controller]: writes with the version that was read, and decides again |
//! | argo-rollouts#4784, #4786 | status writers race over a cache | [controller]; the log of plans: one conditional write each (`operator/sim`) |
//! | argo-rollouts#2855, #3112, #4571, PR #3929 | gigabytes of memory, probes that flap, metrics without bound | [controller]; that a status does not grow is tested here |
//! | argo-rollouts#958, #1244, #1297, #2669, #2675 | configuration is not part of the version | bundle: the digest covers all of it |
//! | argo-rollouts#1323, #3976 | no login at the dashboard | `server`: the admin port |
//! | argo-rollouts#4471, #2685 | hooks around steps; plugins in Go only | [controller]: webhooks |
//! | argo-rollouts#2276, #4352, flagger#1147 | values, weights and verdicts as metrics | `server` and [controller]: metrics; reasons and numbers are in each plan |
//! | argo-rollouts#2088, #2737, #4565, #532, #1635, flagger#451 | several workloads in one rollout | not offered; sets are admitted together (`admission::set`) |
//! | argo-rollouts#3888, flagger#1694 | a gradual way back, so that stable is not overwhelmed | not offered: stable stays able to take everybody (`argo_rollouts_3372`, `flagger_869`) |
//! | argo-rollouts#3941 (PR #4852), PR #4612 | a weight that the servers that are ready cannot take | orders are tested (`argo_rollouts_4852`); that the weight waits for them: [controller], which must call a version ready only when they are |
//! | argo-rollouts#1850, #4792, #4501, #4513 | succeed early, failures in a row, any of several metrics | not offered: gates gather evidence at any time and share one rate of false alarms |
//! | gateway-api plugin #182, #217, PR #164 | rules of others removed, shared routes | [controller]: HTTPRoute, named rules only |
//! | flagger#1647 (users' share), #1532, #1339; knative#14102; ingress-nginx#3717 | sticky sessions move everybody | `server/src/assign/tests.rs`: a growing weight only adds users; the salt is tested here |
//! | flagger#1932, #1591 | who is known good after a failed promotion | nothing is copied, so there is no second copy (`flagger_1898`) |
//! | flagger#1898 webhooks, #738, #1469, #1432 | gates by webhook | [controller] |
//! | flagger#944, #1526 | HPA objects during a canary | [controller]: HPA; the scaler is tested here |
//! | kserve#4074, #5335 | the canary's weight is ignored without a word in raw mode | [controller]: Deployments |
//! | kserve#2978, #2240 (requests) | shadow traffic | `server/src/tests/rewards.rs`; the judgement is tested here |
//! | kserve#335, #1324 | A/B tests and significance | `tests/experiment.rs`, `tests/layers.rs` |
//! | kserve#3376, knative#13247, keda#6063, #3810, #5624 | slow with many objects | [controller]: bench |
//! | seldon-core#3622, #666 | bandits | not offered |
//! | seldon-core#5096 | rules of autoscaling | `tests/scaling.rs`, `tests/scaling_traces.rs` |
//! | trainer#2269, #2185, PR #3316 | restart from the last checkpoint after a preemption | [controller]: Jobs; `trainer` |
//! | trainer#3737, #2981 (objects) | a deleted JobSet is made again | [controller]; the decision is tested here, `outcome.json` in `registry` |
//! | kueue#477 | preemption that does not see progress | Kueue; [controller]: priority classes |
//! | katib#849, #823 | sidecars keep a finished trial running | [controller]: Jobs |
//! | pipelines#7939, #11615, ml-metadata#162 | a cache says hit and the artifact is gone | `registry`: digests are verified when loaded |
//! | mlflow#17240, #12917, #7558, #19467, #602; pipelines#10816, #5509, #11557 | deleting does not delete | `registry`: garbage collection, tombstones |
//! | mlflow PR #22635, zenml PR #3252 | two registrations at once | `registry`: commit loop |
//! | mlflow#18581, #12256 (paths), advisory-database#6510 | files dropped, paths that climb | `registry`, bundle |
//! | mlflow-export-import#138, mlflow PR #21212, azureml-examples#1213 | copying versions between registries | `registry`: push, export |
//! | dvc#8549, #7610, seaweedfs#8800, mountx#19, arrow-rs-object-store#829, PR #852 | listings, other projects, preconditions | `registry`: probe and object stores |
//! | containerd#11907, #11381, cri-o#9127 | artifacts that cannot be mounted | [controller]: not offered |
//! | etcd#15271, #17529, #17247, #20418 | stale, lost and repeated watch events | [controller]; stale lists and late windows in `operator/sim` |
//! | kubernetes#23731, kyverno PR #14984 | two leaders | `operator/sim`: two controllers that both believe |
#![allow(missing_docs)]

mod acceptance;
mod argo_rollouts;
mod flagger;
mod kayenta;
mod knative_keda;
mod kserve;
mod mlflow;
mod sagemaker;
mod trainer;
mod training;
mod world;
