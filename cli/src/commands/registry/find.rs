//! Finds the registry, the model and the version that people name, and says who acts and when.

use anyhow::{Result, bail};
use fairway_registry::{Access, Author, Error, ModelLog, Reference, Registry, Timestamp, Version};

use crate::args::{AuthorArgument, ModelName, RegistryArgument, VersionName};
use crate::commands::state::StateFolder;
use crate::exit::Invalid;
use crate::output;
use crate::runtime::Clock;

/// A model that was found.
pub struct Model {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its log.
    pub log: ModelLog,
}

impl Model {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Opens the registry that was named, or that of the state folder.
///
/// # Errors
/// There is none, or its store lets nobody in.
pub async fn open(argument: &RegistryArgument, access: Access) -> Result<Registry> {
    let options = argument.state.store.options()?;
    Ok(Registry::open_with(&url(argument)?, &options, access).await?)
}

/// The URL that was named, or that of the state folder.
///
/// # Errors
/// Neither.
pub fn url(argument: &RegistryArgument) -> Result<String> {
    argument.registry.clone().map_or_else(|| url_of_state(argument), Ok)
}

fn url_of_state(argument: &RegistryArgument) -> Result<String> {
    match StateFolder::find(&argument.state) {
        Ok(folder) => Ok(folder.identity()?.registry),
        Err(error) if argument.state.state.is_some() => Err(error),
        Err(error) => bail!(Invalid(format!("which registry? name it with --registry URL ({error})"))),
    }
}

/// The model of this name, or the only one.
///
/// # Errors
/// There is none, or there are several.
pub async fn model(registry: &Registry, name: Option<&ModelName>) -> Result<Model> {
    let models = registry.models().await?;
    let is_meant = |(namespace, model): &&(String, String)| {
        name.is_none_or(|name| name.name == *model && name.namespace.as_ref().is_none_or(|it| it == namespace))
    };
    let there: Vec<String> = models.iter().map(|(namespace, model)| format!("{namespace}/{model}")).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let mut found = models.iter().filter(is_meant);
    match (found.next(), found.next(), name) {
        (Some((namespace, model)), None, _) => {
            Ok(Model { namespace: namespace.clone(), name: model.clone(), log: registry.model(namespace, model)? })
        }
        (None, _, Some(name)) => {
            bail!(Invalid(format!("there is no model {name} in the registry; there are: {there}")))
        }
        (None, _, None) => bail!(Invalid("there is no model in the registry yet".to_owned())),
        (Some(one), Some(_), Some(_)) => {
            let such = format!("models:/{}/{}@champion", one.0, one.1);
            bail!(Invalid(format!("which model? several have that name: write its namespace too, such as {such}")))
        }
        (Some(_), Some(_), None) => bail!(Invalid(format!("which model? there are: {there}"))),
    }
}

/// The model of this name, which need not exist yet when its namespace is named.
///
/// # Errors
/// The name cannot be one, or names none.
pub async fn model_to_fill(registry: &Registry, name: &ModelName) -> Result<Model> {
    match &name.namespace {
        Some(namespace) => Ok(Model {
            namespace: namespace.clone(),
            name: name.name.clone(),
            log: registry.model(namespace, &name.name)?,
        }),
        None => model(registry, Some(name)).await.map_err(|error| {
            let cure = format!("to make a new one, write its namespace too, such as shop/{name}");
            Invalid(format!("{error}; {cure}")).into()
        }),
    }
}

/// The version of this name, and its model.
///
/// # Errors
/// There is none, or there was one.
pub async fn version(registry: &Registry, name: &VersionName) -> Result<(Model, Version)> {
    let model = model(registry, name.model.as_ref()).await?;
    let version = resolve(&model.log, &name.reference).await?;
    Ok((model, version))
}

/// What a reference means in a model's log.
///
/// # Errors
/// Nothing, or a version that was deleted: then by whom, when and why.
pub async fn resolve(log: &ModelLog, reference: &Reference) -> Result<Version> {
    let error = match log.resolve(reference).await {
        Ok(version) => return Ok(version),
        Err(error) => error,
    };
    let Error::Deleted { what, entry: Some(seq) } = &error else { return Err(error.into()) };
    let Some(tombstone) = log.entry_at(*seq).await? else { return Err(error.into()) };
    let (when, actor, reason) = (output::time(tombstone.time), &tombstone.actor, &tombstone.reason);
    bail!("{what} was deleted by {actor} on {when} (entry {seq} of the log): {reason}")
}

/// Now.
pub fn now() -> Timestamp {
    Clock::real().now()
}

/// Someone who acts, kept for as long as the action takes.
pub struct Acting {
    actor: String,
    reason: String,
    time: Timestamp,
}

impl Acting {
    /// As the command line says.
    pub fn new(actor: String, reason: &str) -> Self {
        Self { actor, reason: reason.to_owned(), time: now() }
    }

    /// For the log.
    pub fn author(&self) -> Author<'_> {
        Author { actor: &self.actor, reason: &self.reason, time: self.time }
    }
}

impl From<&AuthorArgument> for Acting {
    fn from(argument: &AuthorArgument) -> Self {
        Self::new(argument.actor.name(), &argument.reason)
    }
}
