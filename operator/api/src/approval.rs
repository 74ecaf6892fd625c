//! The kind `ModelApproval`: one person's word about one digest. It never changes; deleting it takes the word back. Who may
//! write it is held by the chart's admission policies; what the words come to is decided by core.

use fairway_core::approvals::Word;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::FieldError;
use crate::status::{Condition, conditions};
use crate::values::{Digest, Time};

/// One person's word about one version of a model.
#[derive(Clone, Debug, PartialEq, Eq, kube::CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "ModelApproval",
    plural = "modelapprovals",
    shortname = "fwa",
    category = "fairway",
    namespaced,
    status = "ModelApprovalStatus",
    derive = "PartialEq",
    doc = "One person's word about one version of a model. It never changes; deleting it takes the word back."
)]
#[kube(printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"))]
#[kube(printcolumn(name = "Digest", type_ = "string", json_path = ".spec.digest"))]
#[kube(printcolumn(name = "Word", type_ = "string", json_path = ".spec.word"))]
#[kube(printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"))]
#[kube(printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self == oldSelf", "message": "a word that was given does not change: delete it and give another" },
    { "rule": "self.word != 'Reject' || has(self.reason)", "message": "say why it is rejected", "fieldPath": ".reason" }
]))]
pub struct ModelApprovalSpec {
    /// The model, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// The version's digest: the word is about this artifact and no other.
    pub digest: Digest,
    /// The word. One standing Reject outweighs every Approve.
    pub word: ApprovalWord,
    /// Whose word it is: the name by which the API server knows whoever makes this object.
    #[schemars(length(min = 1, max = 253))]
    pub approver: String,
    /// Until when it stands; in the future when it is given. Without it, for ever, or as long as the model's
    /// approval.validFor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Why. A Reject needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub reason: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalWord {
    /// The version may serve.
    Approve,
    /// The version may not serve.
    Reject,
}

/// What is known about an approval now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelApprovalStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Recorded (it stands in the registry's log), Expired.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

impl ModelApprovalSpec {
    /// The word as core counts it, given at `time`.
    pub fn word(&self, time: Timestamp) -> Word<'_> {
        Word {
            actor: &self.approver,
            approves: self.word == ApprovalWord::Approve,
            digest: self.digest.as_str(),
            time,
            expires: self.expires.map(|expires| expires.0),
        }
    }

    /// Checks what does not fit together.
    ///
    /// # Errors
    /// All fields that contradict each other.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        if self.word == ApprovalWord::Reject && self.reason.is_none() {
            let help = "reason: whoever trained it wants to know what to change";
            return Err(vec![FieldError::new("spec.reason", "a Reject needs a reason", help)]);
        }
        Ok(())
    }
}
