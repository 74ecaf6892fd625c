//! Folders of manifests: read, grouped by namespace and name, references checked. Reads one folder, not the ones below it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::parse::{Located, Manifest, Other, parse_documents};
use super::substitute::substitute;
use crate::error::{FieldError, ManifestError, closest};
use crate::{Model, ModelApproval, ModelEndpoint, ModelExperiment, TrainingRun};

/// Most bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of one folder.
const FILES_MAX: usize = 1000;
/// The namespace of what names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; `default` if none is named.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    fn of(metadata: &ObjectMeta) -> Self {
        let namespace = metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Self { namespace, name: metadata.name.clone().unwrap_or_default() }
    }

    /// Another name in the same namespace.
    pub fn sibling(&self, name: &str) -> Self {
        Self { namespace: self.namespace.clone(), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Manifests by namespace and name. What an endpoint or a run names is there, and nothing is there twice.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// Models.
    pub models: BTreeMap<ObjectKey, Located<Model>>,
    /// Runs.
    pub runs: BTreeMap<ObjectKey, Located<TrainingRun>>,
    /// Endpoints.
    pub endpoints: BTreeMap<ObjectKey, Located<ModelEndpoint>>,
    /// Experiments.
    pub experiments: BTreeMap<ObjectKey, Located<ModelExperiment>>,
    /// Approvals.
    pub approvals: BTreeMap<ObjectKey, Located<ModelApproval>>,
    /// Documents of other API groups, in the order of files and documents.
    pub others: Vec<Located<Other>>,
}

impl Manifests {
    /// Groups documents and checks what they name.
    ///
    /// # Errors
    /// All duplicates, all references to what is not there, and endpoints that would both move a model's champion.
    pub fn group(documents: impl IntoIterator<Item = Located<Manifest>>) -> Result<Self, Vec<ManifestError>> {
        let (mut grouped, mut errors) = (Self::default(), Vec::new());
        for document in documents {
            grouped.insert(document, &mut errors);
        }
        grouped.check_references(&mut errors);
        grouped.check_promotes(&mut errors);
        if errors.is_empty() { Ok(grouped) } else { Err(errors) }
    }

    /// What is written down and understood, but not acted on by this version or not taken by a cluster.
    pub fn warnings(&self) -> Vec<ManifestError> {
        let mut warnings = Vec::new();
        for at in self.models.values() {
            warnings.extend(at.notes.iter().cloned().chain(at.value.spec.warnings()).map(|note| at.error(note)));
        }
        for at in self.endpoints.values() {
            warnings.extend(at.notes.iter().cloned().chain(at.value.spec.warnings()).map(|note| at.error(note)));
        }
        for at in self.experiments.values() {
            warnings.extend(at.notes.iter().cloned().map(|note| at.error(note)));
        }
        for at in self.approvals.values() {
            let problem = "approvals are read from manifests on Kubernetes only";
            warnings.push(at.error(FieldError::new("kind", problem, "`fairway registry approve` gives one")));
        }
        for at in self.runs.values() {
            let problem = "runs are not started from manifests in this version";
            warnings.push(at.error(FieldError::new("kind", problem, "`fairway run start` starts one")));
        }
        warnings.into_iter().map(ManifestError::warning).collect()
    }

    fn insert(&mut self, document: Located<Manifest>, errors: &mut Vec<ManifestError>) {
        match document.value.clone() {
            Manifest::Model(model) => {
                let key = ObjectKey::of(&model.metadata);
                add(&mut self.models, key, document.map(|_| *model), "Model", errors);
            }
            Manifest::TrainingRun(run) => {
                let key = ObjectKey::of(&run.metadata);
                add(&mut self.runs, key, document.map(|_| *run), "TrainingRun", errors);
            }
            Manifest::ModelEndpoint(endpoint) => {
                let key = ObjectKey::of(&endpoint.metadata);
                add(&mut self.endpoints, key, document.map(|_| *endpoint), "ModelEndpoint", errors);
            }
            Manifest::ModelExperiment(experiment) => {
                let key = ObjectKey::of(&experiment.metadata);
                add(&mut self.experiments, key, document.map(|_| *experiment), "ModelExperiment", errors);
            }
            Manifest::ModelApproval(approval) => {
                let key = ObjectKey::of(&approval.metadata);
                add(&mut self.approvals, key, document.map(|_| *approval), "ModelApproval", errors);
            }
            Manifest::Other(other) => self.others.push(document.map(|_| other)),
        }
    }

    fn check_references(&self, errors: &mut Vec<ManifestError>) {
        for (key, endpoint) in &self.endpoints {
            self.check_model(key, &endpoint.value.spec.model, endpoint, errors);
        }
        for (key, run) in &self.runs {
            self.check_model(key, &run.value.spec.model, run, errors);
        }
        for (key, experiment) in &self.experiments {
            let endpoint = &experiment.value.spec.endpoint;
            if !self.endpoints.contains_key(&key.sibling(endpoint)) {
                let siblings = self.endpoints.keys().filter(|other| other.namespace == key.namespace);
                let guess = closest(endpoint, siblings.map(|key| key.name.as_str()));
                let help = guess.map_or_else(
                    || "add its manifest to the same folder".to_owned(),
                    |guess| format!("did you mean `{guess}`?"),
                );
                let problem = format!("there is no ModelEndpoint `{endpoint}` in the namespace `{}`", key.namespace);
                errors.push(experiment.error(FieldError::new("spec.endpoint", problem, help)));
            }
        }
        for (key, approval) in &self.approvals {
            self.check_model(key, &approval.value.spec.model, approval, errors);
        }
    }

    /// Two endpoints whose verdicts both move one alias would overrule each other.
    fn check_promotes(&self, errors: &mut Vec<ManifestError>) {
        let mut first: BTreeMap<ObjectKey, &ObjectKey> = BTreeMap::new();
        for (key, endpoint) in self.endpoints.iter().filter(|(_, endpoint)| endpoint.value.spec.promotes) {
            let model = &endpoint.value.spec.model;
            let Some(other) = first.insert(key.sibling(model), key) else { continue };
            let problem = format!(
                "both `{}` and `{}` would move the champion of the Model `{model}`: their verdicts could differ",
                other.name, key.name
            );
            let help = "promotes: false on all endpoints of a model but one: they then try its champion themselves";
            errors.push(endpoint.error(FieldError::new("spec.promotes", problem, help)));
            first.insert(key.sibling(model), other);
        }
    }

    fn check_model<T>(&self, from: &ObjectKey, model: &str, at: &Located<T>, errors: &mut Vec<ManifestError>) {
        if self.models.contains_key(&from.sibling(model)) {
            return;
        }
        let elsewhere = self.models.keys().find(|key| key.name == model);
        let siblings = self.models.keys().filter(|key| key.namespace == from.namespace).map(|key| key.name.as_str());
        let help = match (elsewhere, closest(model, siblings)) {
            (Some(key), _) => format!("there is one in the namespace `{}`; put both into one namespace", key.namespace),
            (None, Some(guess)) => format!("did you mean `{guess}`?"),
            (None, None) => "add its manifest to the same folder".to_owned(),
        };
        let problem = format!("there is no Model `{model}` in the namespace `{}`", from.namespace);
        errors.push(at.error(FieldError::new("spec.model", problem, help)));
    }
}

fn add<T>(
    all: &mut BTreeMap<ObjectKey, Located<T>>,
    key: ObjectKey,
    new: Located<T>,
    kind: &str,
    errors: &mut Vec<ManifestError>,
) {
    if let Some(first) = all.get(&key) {
        let place = format!("{}:{}", first.file, first.position("metadata.name").line);
        let help = format!("the first one is at {place}; give this one another name or remove it");
        errors.push(new.error(FieldError::new("metadata.name", format!("the {kind} `{key}` is there twice"), help)));
        return;
    }
    all.insert(key, new);
}

/// Reads a folder's `*.yaml`, `*.yml` and `*.json` (or one file) in the order of their names. Variables stay as they are.
///
/// # Errors
/// All that is wrong in any file, or a file or folder that cannot be read.
pub fn load_dir(path: &Path) -> Result<Manifests, Vec<ManifestError>> {
    load(path, None)
}

/// The same, with variables replaced before parsing: see [`substitute`].
///
/// # Errors
/// As [`load_dir`], and unknown variables.
pub fn load_dir_with(path: &Path, variables: &BTreeMap<String, String>) -> Result<Manifests, Vec<ManifestError>> {
    load(path, Some(variables))
}

fn load(path: &Path, variables: Option<&BTreeMap<String, String>>) -> Result<Manifests, Vec<ManifestError>> {
    let files = files(path).map_err(|error| vec![error])?;
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        match read(&file, variables) {
            Ok(parsed) => documents.extend(parsed),
            Err(found) => errors.extend(found),
        }
    }
    // References into a file that could not be read would only add noise.
    if errors.is_empty() { Manifests::group(documents) } else { Err(errors) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| ManifestError::of_file(&name, format!("cannot be read: {error}"), "");
    if fs::metadata(path).map_err(unreadable)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if ["yaml", "yml", "json"].contains(&extension) && file.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(ManifestError::of_file(
                &name,
                format!("more than {FILES_MAX} manifest files"),
                "split the folder",
            ));
        }
    }
    if files.is_empty() {
        let help = "a folder with *.yaml, *.yml or *.json; `fairway init` writes a first manifest";
        return Err(ManifestError::of_file(&name, "no manifests here", help));
    }
    files.sort();
    Ok(files)
}

fn read(
    path: &Path,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<Vec<Located<Manifest>>, Vec<ManifestError>> {
    let name = path.display().to_string();
    let of_file = |problem: String, help: &str| vec![ManifestError::of_file(&name, problem, help)];
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| of_file(format!("cannot be read: {error}"), ""))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| of_file(format!("cannot be read: {error}"), ""))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(of_file("larger than 1 MiB".into(), "manifests are small: is this a data file?"));
    }
    let text = String::from_utf8(bytes).map_err(|_| of_file("not UTF-8 text".into(), "save it as UTF-8"))?;
    let text = match variables {
        Some(variables) => substitute(&text, variables).map_err(|error| vec![error.in_file(&name)])?,
        None => text,
    };
    parse_documents(&text, &name)
}
