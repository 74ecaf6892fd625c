//! What `risk: High` asks for, whatever the rest of a manifest says: a person agrees before a version serves, what is not known
//! of a version counts against it, and every decision is written down. It only ever tightens.

use fairway_core::policy::{EndpointPolicy, OnInconclusive, OnMissingTelemetry};

use super::{ModelSpec, Risk};
use crate::endpoint::ModelEndpointSpec;
use crate::error::FieldError;

impl ModelSpec {
    fn is_high(&self) -> bool {
        self.risk == Risk::High
    }

    /// How many people must approve a version.
    pub(super) fn approvals(&self) -> u32 {
        if self.is_high() { self.approval.required.max(1) } else { self.approval.required }
    }

    /// The policy of an endpoint of this model. With High a version on trial of which routers report nothing is taken back, and one
    /// that was not proved within its time is not promoted by the clock.
    ///
    /// # Errors
    /// See [`ModelEndpointSpec::policy`].
    pub fn endpoint_policy(&self, endpoint: &ModelEndpointSpec) -> Result<EndpointPolicy, Vec<FieldError>> {
        let mut policy = endpoint.policy(self.reward.within.std())?;
        if self.is_high() {
            policy.on_missing_telemetry = OnMissingTelemetry::Rollback;
            if policy.on_inconclusive == OnInconclusive::Promote {
                policy.on_inconclusive = OnInconclusive::Pause;
            }
        }
        Ok(policy)
    }

    /// The fraction of an endpoint's decisions that are written down, 0 to 1: with High all of them.
    pub fn decision_sample(&self, endpoint: &ModelEndpointSpec) -> f64 {
        if self.is_high() { 1.0 } else { endpoint.decision_log.sample.fraction() }
    }
}
