//! The state folder of `fairway up`: who runs there, how to reach it, and which registry it uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_core::Reason;
use fairway_registry::{Access, EndpointLog, ModelLog, Registry, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::args::StateArgument;
use crate::exit::Invalid;

/// What a loop is and where its record lies; kept after the process has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// URL of the registry. The options of its store are not kept, as some are secrets: they come from the environment
    /// or from the command line, each time.
    pub registry: String,
    /// Namespace of model and endpoint.
    pub namespace: String,
    /// The model.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
}

/// How to reach the running process. Readable by its owner only, because of the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Base URL of the admin port.
    pub admin: String,
    /// Base URL of the public port.
    pub public: String,
    /// The secret that verbs bring.
    pub token: String,
    /// The process.
    pub pid: u32,
}

/// A state folder.
pub struct StateFolder {
    path: PathBuf,
    options: StoreOptions,
}

const PARENT: &str = ".fairway";
const IDENTITY: &str = "loop.json";
const REACH: &str = "admin.json";
const CALL_WITHIN: Duration = Duration::from_secs(15);

impl StateFolder {
    /// The folder that was named, or the only one there is.
    ///
    /// # Errors
    /// None or several.
    pub fn find(argument: &StateArgument) -> Result<Self> {
        let options = argument.store.options()?;
        if let Some(path) = &argument.state {
            return Ok(Self { path: path.clone(), options });
        }
        let mut found: Vec<PathBuf> = std::fs::read_dir(PARENT)
            .map(|entries| {
                entries.flatten().map(|entry| entry.path()).filter(|path| path.join(IDENTITY).exists()).collect()
            })
            .unwrap_or_default();
        found.sort();
        match found.as_slice() {
            [path] => Ok(Self { path: path.clone(), options }),
            [] => bail!(Invalid(format!(
                "no state under {PARENT}: run `fairway up` here first, or name its folder with --state"
            ))),
            many => {
                let names: Vec<String> = many.iter().map(|path| path.display().to_string()).collect();
                bail!(Invalid(format!("several state folders: name one with --state: {}", names.join(", "))))
            }
        }
    }

    /// The folder at this path.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), options: StoreOptions::new() }
    }

    /// Remembers what runs here.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, identity: &Identity, reach: &Reach) -> Result<()> {
        write_private(&self.path.join(IDENTITY), &serde_json::to_vec_pretty(identity)?)?;
        write_private(&self.path.join(REACH), &serde_json::to_vec_pretty(reach)?)
    }

    /// The process has ended in order.
    pub fn forget_reach(&self) {
        // A stale file only makes verbs fail with a clear message.
        let _ = std::fs::remove_file(self.path.join(REACH));
    }

    /// What runs or ran here.
    ///
    /// # Errors
    /// Nothing ever did.
    pub fn identity(&self) -> Result<Identity> {
        self.read(IDENTITY).with_context(|| format!("{} is not a state folder of `fairway up`", self.path.display()))
    }

    /// Its logs.
    ///
    /// # Errors
    /// The registry cannot be opened.
    pub async fn logs(&self) -> Result<(ModelLog, EndpointLog)> {
        let identity = self.identity()?;
        let registry = Registry::open_with(&identity.registry, &self.options, Access::Read).await?;
        let model = registry.model(&identity.namespace, &identity.model)?;
        Ok((model, registry.endpoint(&identity.namespace, &identity.endpoint)?))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.path.join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    fn reach(&self) -> Result<Reach> {
        self.read(REACH).with_context(|| format!("nothing runs in {}: start it with `fairway up`", self.path.display()))
    }

    /// The live state, or none if nothing runs.
    pub async fn live(&self) -> Option<serde_json::Value> {
        let reach = self.reach().ok()?;
        let answer = client().ok()?.get(format!("{}/status", reach.admin)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// Sends a verb to the running process and gives its reasons.
    ///
    /// # Errors
    /// Nothing runs, or it refused.
    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<Vec<Reason>> {
        #[derive(Deserialize)]
        struct Answer {
            reasons: Vec<Reason>,
        }
        let reach = self.reach()?;
        let mut request = client()?.request(method, format!("{}{path}", reach.admin)).bearer_auth(&reach.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| {
            format!(
                "process {} of {} does not answer; it may have been killed: start it again",
                reach.pid,
                self.path.display()
            )
        })?;
        if !answer.status().is_success() {
            let status = answer.status();
            bail!("refused ({status}): {}", answer.text().await.unwrap_or_default());
        }
        Ok(answer.json::<Answer>().await?.reasons)
    }
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(CALL_WITHIN).build()?)
}

/// Writes a file that only its owner can read, and replaces the old one as a whole.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
