//! Making each version's autoscaler what it is to be: one of the two, or none. Two that scale the same Deployment fight, so
//! the other one goes first.

use anyhow::Result;
use fairway_core::Condition;
use fairway_core::scaling::Scaler;
use fairway_wire::Target;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Resource;

use super::autoscaler::{self, Autoscaler};
use super::build::Builder;
use super::{Decided, Subject};
use crate::apply::{delete, ensure};
use crate::board::Key;
use crate::context::Context;
use crate::copies::Copies;
use crate::names;
use crate::optional::ScaledObject;

/// Tells KEDA's side what the version's servers do, and makes its autoscaler.
pub(super) async fn scale(context: &Context, builder: &Builder<'_>, target: &Target, decided: &Decided) -> Result<()> {
    let key = (builder.subject.key.0.clone(), names::of_version(builder.name(), &target.digest));
    if let Some(sample) = decided.seen.servers.get(&target.digest).and_then(|servers| servers.sample) {
        context.loads.tell(key.clone(), sample);
    }
    let scaled = context.keda.find().await?;
    let least = decided.plan.status.scalers.get(&target.digest).map_or(0, Scaler::replicas);
    match builder.autoscaler(target, least, scaled.is_some()) {
        Autoscaler::None => {
            remove_scaled(context, scaled.as_ref(), &key).await?;
            remove_horizontal(context, &key).await
        }
        Autoscaler::Horizontal(wanted) => {
            remove_scaled(context, scaled.as_ref(), &key).await?;
            ensure::<HorizontalPodAutoscaler>(context, &context.autoscalers, &wanted).await
        }
        Autoscaler::Scaled(wanted) => {
            remove_horizontal(context, &key).await?;
            match &scaled {
                Some(store) => ensure::<ScaledObject>(context, store, &wanted).await,
                None => Ok(()),
            }
        }
    }
}

/// A version that is gone: its autoscaler goes too.
pub(super) async fn forget(context: &Context, key: &Key) -> Result<()> {
    context.loads.forget(key);
    remove_scaled(context, context.keda.find().await?.as_ref(), key).await?;
    remove_horizontal(context, key).await
}

async fn remove_horizontal(context: &Context, (namespace, name): &Key) -> Result<()> {
    match context.autoscalers.get(namespace, name) {
        Some(autoscaler) => delete::<HorizontalPodAutoscaler>(context, autoscaler.meta()).await,
        None => Ok(()),
    }
}

async fn remove_scaled(
    context: &Context,
    scaled: Option<&Copies<ScaledObject>>,
    (namespace, name): &Key,
) -> Result<()> {
    match scaled.and_then(|copies| copies.get(namespace, name)) {
        Some(scaled) => delete::<ScaledObject>(context, scaled.meta()).await,
        None => Ok(()),
    }
}

/// What the endpoint's people must know: that it is not scaled by what they asked for.
pub(super) async fn lacking(context: &Context, subject: &Subject, decided: &mut Decided) -> Result<()> {
    let scaling = &subject.endpoint.spec.scaling;
    if autoscaler::by_requests(scaling).is_empty() {
        return Ok(());
    }
    let keda = context.keda.find().await?.is_some();
    if let Some(reason) = autoscaler::lacks(scaling, keda, context.settings.scaler_address.as_deref()) {
        decided.plan.reasons.push(reason.clone());
        decided.plan.conditions.push(Condition { kind: "ScalingLimited".to_owned(), status: true, reason });
    }
    Ok(())
}
