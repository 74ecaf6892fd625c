//! From text to checked manifests. Every document is held against its kind's schema and converted once, so that what is
//! returned can be used; all that is wrong in a file is reported together.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::check::Check;
use super::header::{Header, header, is_near_miss, metadata};
use super::tree::{Node, Value};
use super::yaml::{documents, yaml};
use crate::error::{FieldError, ManifestError, Position, allowed};
use crate::schema::crds;
use crate::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};

/// One document of a manifest file.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// What to train, when.
    Model(Box<Model>),
    /// One attempt.
    TrainingRun(Box<TrainingRun>),
    /// What to serve, and how to roll out.
    ModelEndpoint(Box<ModelEndpoint>),
    /// What parts of an endpoint's users get instead.
    ModelExperiment(Box<ModelExperiment>),
    /// One person's word about a version.
    ModelApproval(Box<ModelApproval>),
    /// A document of another API group, as it is.
    Other(Other),
}

/// A document of another API group, such as `simulator.fairway.dev/v1alpha1`, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Its API group and version.
    pub api_version: String,
    /// Its kind; empty if it has none.
    pub kind: String,
    /// The whole document.
    pub document: Json,
}

impl Other {
    /// What it was probably meant to be, if that is one of ours.
    pub fn guess(&self) -> Option<&'static str> {
        is_near_miss(&self.api_version, &self.kind).then_some("fairway.dev/v1alpha1")
    }
}

/// Something from a file, with the places of its fields.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// What was read.
    pub value: T,
    /// The file, as it was given.
    pub file: String,
    /// Where the document begins.
    pub start: Position,
    /// What can be read from a file, but would not be taken by a cluster.
    pub notes: Vec<FieldError>,
    places: Arc<BTreeMap<String, Position>>,
    source: Arc<str>,
}

impl<T> Located<T> {
    /// Where a field is written; the nearest field around it if it was left out.
    pub fn position(&self, field: &str) -> Position {
        let mut path = field;
        loop {
            if let Some(at) = self.places.get(path) {
                return *at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.start,
            }
        }
    }

    /// An error of this document, with its place.
    pub fn error(&self, error: FieldError) -> ManifestError {
        ManifestError::new(&self.file, &self.source, self.position(&error.field), error)
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: change(self.value),
            file: self.file,
            start: self.start,
            notes: self.notes,
            places: self.places,
            source: self.source,
        }
    }
}

/// Reads every document of a text. `file` is named in errors.
///
/// Documents of other API groups are returned as they are; empty documents are left out.
///
/// # Errors
/// All that is wrong in any document; of a document that is not YAML, the first.
pub fn parse_documents(text: &str, file: &str) -> Result<Vec<Located<Manifest>>, Vec<ManifestError>> {
    let source: Arc<str> = text.into();
    let (mut manifests, mut errors) = (Vec::new(), Vec::new());
    for (first_line, part) in documents(text) {
        let nodes = match yaml(part, first_line) {
            Ok(nodes) => nodes,
            Err((at, error)) => {
                errors.push(ManifestError::new(file, &source, at, error));
                continue;
            }
        };
        for node in nodes {
            let places = Arc::new(node.positions());
            let (file_name, source_text) = (file.to_owned(), Arc::clone(&source));
            let place =
                Located { value: (), file: file_name, start: node.at, notes: Vec::new(), places, source: source_text };
            match manifest(&node) {
                Ok((manifest, notes)) => manifests.push(Located { notes, ..place.map(|()| manifest) }),
                Err(misfits) => errors.extend(misfits.into_iter().map(|(at, error)| {
                    let at = at.unwrap_or_else(|| place.position(&error.field));
                    ManifestError::new(file, &source, at, error)
                })),
            }
        }
    }
    if errors.is_empty() { Ok(manifests) } else { Err(errors) }
}

/// Problems of a document; without a place, the field's place is looked up.
type Problems = Vec<(Option<Position>, FieldError)>;

fn manifest(node: &Node) -> Result<(Manifest, Vec<FieldError>), Problems> {
    let header = header(node).map_err(|(at, error)| vec![(Some(at), error)])?;
    match header {
        Header::Other(api_version, kind) => {
            let document = node.json();
            Ok((Manifest::Other(Other { api_version, kind, document }), Vec::new()))
        }
        Header::Ours("Model") => {
            let (model, notes) = checked::<Model>(node, "Model")?;
            semantic(model.spec.policy().map(drop))?;
            Ok((Manifest::Model(Box::new(model)), notes))
        }
        Header::Ours("TrainingRun") => {
            let (run, notes) = checked::<TrainingRun>(node, "TrainingRun")?;
            Ok((Manifest::TrainingRun(Box::new(run)), notes))
        }
        Header::Ours("ModelExperiment") => {
            let (experiment, notes) = checked::<ModelExperiment>(node, "ModelExperiment")?;
            semantic(experiment.spec.check(experiment.metadata.name.as_deref().unwrap_or_default()))?;
            Ok((Manifest::ModelExperiment(Box::new(experiment)), notes))
        }
        Header::Ours("ModelApproval") => {
            let (approval, notes) = checked::<ModelApproval>(node, "ModelApproval")?;
            semantic(approval.spec.check())?;
            Ok((Manifest::ModelApproval(Box::new(approval)), notes))
        }
        Header::Ours(kind) => {
            let (endpoint, notes) = checked::<ModelEndpoint>(node, kind)?;
            // How long feedback may take is the model's affair and contradicts nothing here.
            semantic(endpoint.spec.policy(Duration::from_secs(3600)).map(drop))?;
            Ok((Manifest::ModelEndpoint(Box::new(endpoint)), notes))
        }
    }
}

fn semantic(result: Result<(), Vec<FieldError>>) -> Result<(), Problems> {
    result.map_err(|errors| errors.into_iter().map(|error| (None, error)).collect())
}

/// The schema of each kind, made once.
fn schema(kind: &str) -> Option<&'static Json> {
    static SCHEMAS: OnceLock<BTreeMap<String, Json>> = OnceLock::new();
    let all = SCHEMAS.get_or_init(|| {
        let of = |crd: Json| {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
            (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
        };
        crds().into_iter().map(of).collect()
    });
    all.get(kind)
}

/// Holds a document against its kind's schema and reads it, with what a cluster would not take.
fn checked<T: DeserializeOwned>(node: &Node, kind: &str) -> Result<(T, Vec<FieldError>), Problems> {
    let mut check = Check::default();
    let Value::Map(entries) = &node.value else {
        return Err(Vec::new());
    };
    let schema = schema(kind).unwrap_or(&Json::Null);
    for entry in entries {
        match entry.key.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => metadata(&entry.node, entry.at, &mut check),
            "spec" | "status" => check.node(&entry.node, entry.at, &schema["properties"][&entry.key], &entry.key),
            unknown => {
                let help = allowed(unknown, &["apiVersion", "kind", "metadata", "spec"]);
                check.misfit(entry.at, unknown, format!("there is no field `{unknown}` here"), help);
            }
        }
    }
    for name in ["metadata", "spec"] {
        if node.get(name).is_none() {
            check.misfit(node.at, name, format!("`{name}` is missing"), format!("every {kind} has one"));
        }
    }
    if !check.misfits.is_empty() {
        return Err(check.misfits.into_iter().map(|misfit| (Some(misfit.at), misfit.error)).collect());
    }
    match serde_json::from_value(node.json()) {
        Ok(value) => Ok((value, check.notes)),
        Err(error) => Err(vec![(Some(node.at), FieldError::new("", error.to_string(), ""))]),
    }
}
