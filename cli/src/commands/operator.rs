//! `fairway operator`: the loop on Kubernetes.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_api::{FieldErrors, Model};
use fairway_controller::{Ended, RunCause, Settings};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::up::Signals;
use crate::args::Operator;
use crate::exit::{Code, Invalid};
use crate::runtime::{Cause, Recipe};
use crate::train::RunPlan;

/// Shorter leases run out between two looks.
const SHORTEST: Duration = Duration::from_secs(3);

/// Runs until somebody stops it, or until another one leads.
///
/// # Errors
/// The cluster cannot be reached, or the lead was lost: it is to be started again.
pub async fn run(operator: Operator) -> Result<Code> {
    let client = client().await?;
    let (lease, canary_lease) = (operator.lease_duration.std(), operator.canary_lease.std());
    if lease < SHORTEST || canary_lease < SHORTEST {
        bail!(Invalid(format!("--lease-duration and --canary-lease: at least {} s", SHORTEST.as_secs())));
    }
    let settings = Settings {
        identity: operator.identity.unwrap_or_else(host),
        namespace: operator.namespace,
        watch: operator.watch.into_iter().filter(|it| !it.is_empty()).collect(),
        registry: operator.registry.filter(|url| !url.is_empty()),
        image: operator.image,
        image_pull_policy: operator.image_pull_policy,
        admin: operator.admin,
        metrics: operator.metrics,
        metrics_from: peers(operator.metrics_from.as_deref().unwrap_or_default())?,
        scaler: operator.scaler_listen,
        scaler_address: operator.scaler_address,
        lease_name: operator.lease,
        lease,
        canary_lease,
        concurrency: operator.concurrency,
        plan,
    };
    let stop = CancellationToken::new();
    let mut signals = Signals::new()?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        signals.stop().await;
        tracing::info!("stopping: giving the lead back");
        stopping.cancel();
    });
    match fairway_controller::run(client, settings, stop).await? {
        Ended::Stopped => Ok(Code::Done),
        Ended::LeadLost(why) => {
            tracing::warn!("the lead is lost, and this operator begins anew as a candidate: {why:#}");
            Err(anew())
        }
    }
}

/// Peers of a NetworkPolicy. One that selects nothing is refused: the API server would refuse every endpoint's policy for it.
fn peers(text: &str) -> Result<Vec<Value>> {
    const SELECTS: [&str; 3] = ["namespaceSelector", "podSelector", "ipBlock"];
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let peers: Vec<Value> =
        serde_json::from_str(text).map_err(|error| Invalid(format!("--metrics-from is no JSON list: {error}")))?;
    for peer in &peers {
        let fields = peer.as_object().map(|peer| peer.keys().map(String::as_str).collect::<Vec<_>>());
        if !fields.is_some_and(|fields| !fields.is_empty() && fields.iter().all(|field| SELECTS.contains(field))) {
            bail!(Invalid(format!(
                "--metrics-from: {peer} is no peer of a NetworkPolicy: it has {}",
                SELECTS.join(", ")
            )));
        }
    }
    Ok(peers)
}

/// Becomes the same program again, in the same process: whoever watches it, such as the kubelet, would wait longer after
/// each end, and a cluster whose API server comes and goes would have nobody who decides. Returns only if that fails.
fn anew() -> anyhow::Error {
    let again = || -> std::io::Error {
        match std::env::current_exe() {
            Ok(program) => Command::new(program).args(std::env::args_os().skip(1)).exec(),
            Err(error) => error,
        }
    };
    anyhow::Error::new(again()).context("beginning anew")
}

async fn client() -> Result<fairway_controller::Client> {
    fairway_controller::connect().await.context(
        "no cluster: in a pod its ServiceAccount says where it is, elsewhere KUBECONFIG or ~/.kube/config does",
    )
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    format!("{}-{}", if name.is_empty() { "fairway" } else { name }, std::process::id())
}

/// The plan of a run, as the trainer reads it.
fn plan(model: &Model, cause: &RunCause<'_>) -> Result<serde_json::Value> {
    let recipe = Recipe::of(model)?;
    let policy = model.spec.policy().map_err(FieldErrors)?;
    let why = Cause {
        reason: cause.reason,
        mode: cause.mode,
        evidence: cause.evidence.clone(),
        champion: cause.champion.clone(),
    };
    let training = recipe.plan(cause.run, why, cause.as_of, cause.known_until);
    let plan = RunPlan { training, admission: policy.admission, deadline: Some(policy.run_deadline) };
    Ok(serde_json::to_value(plan)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_metrics_is_a_peer_of_a_network_policy() {
        assert!(peers("").unwrap().is_empty() && peers("[]").unwrap().is_empty());
        let one = r#"[{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}]"#;
        assert_eq!(peers(one).unwrap().len(), 1);
        for bad in ["monitoring", "{}", "[{}]", r#"[{"namespaces": []}]"#, r#"["monitoring"]"#] {
            assert!(peers(bad).is_err(), "{bad}");
        }
    }
}
