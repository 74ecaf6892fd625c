//! Real object-store servers on loopback, a fresh process for each call: versitygw (S3), fake-gcs-server behind
//! an XML front (Cloud Storage) and Azurite (Azure Blob). `registry/stores/build` builds them.
//! It tests nothing itself. Where a server cannot be built it says SKIPPED on standard error and gives none, or
//! panics if `FAIRWAY_REQUIRE_TOOLS=1` is set.

use object_store::ClientOptions;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The bucket, or container, of every server.
const BUCKET: &str = "models";
/// The account of every server that has accounts, and its secret, which protects nothing.
const ACCOUNT: &str = "fairway";
const SECRET: &str = "dGVzdHMtb24tbG9vcGJhY2stb25seQ==";
/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// How often a free port is looked for, for a server that cannot find one itself.
const PORTS_MAX: u32 = 5;

/// A running server with an empty bucket. Dropping it kills the process and removes the data.
pub(super) struct Server {
    /// Where a registry can be, for example `s3://models/shop`.
    pub url: String,
    /// How to reach it: configuration keys of `object_store`, with their values.
    pub options: Vec<(String, String)>,
    // In this order: the process ends before its folder goes.
    _process: Process,
    _folder: TempDir,
}

/// versitygw: S3, and `If-None-Match` decides creates.
pub(super) async fn s3() -> Option<Server> {
    versitygw(&[]).await
}

/// versitygw without metadata: every create overwrites. A test of creates that passes here is broken.
pub(super) async fn s3_without_preconditions() -> Option<Server> {
    versitygw(&["--nometa"]).await
}

async fn versitygw(options: &[&str]) -> Option<Server> {
    static BUILT: Built = OnceLock::new();
    let program = built(&BUILT, "s3")?.join("bin/versitygw");
    let mut last = String::new();
    for _ in 0..PORTS_MAX {
        let folder = folder();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        // A path of its own: an answer there comes from this process, whoever else wanted the port.
        let health = format!("/{}", folder.path().file_name().unwrap().to_str().unwrap());
        let address = free_address();
        let mut command = Command::new(&program);
        command.args(["--port", &address, "--health", &health, "--quiet", "--keep-alive", "posix"]);
        command.args(options).arg(&root);
        command.env("ROOT_ACCESS_KEY", ACCOUNT).env("ROOT_SECRET_KEY", SECRET);
        let mut process = Process::start(command, folder.path());
        let ask = async || (status("GET", &format!("http://{address}{health}"), None).await == Some(200)).then_some(());
        match process.wait(ask).await {
            Ok(()) => return Some(Server::new("s3", s3_options(&address), process, folder)),
            Err(reason) => last = reason,
        }
    }
    panic!("versitygw did not start on any of {PORTS_MAX} ports: {last}");
}

fn s3_options(address: &str) -> Vec<(&'static str, String)> {
    vec![
        // The key that wins over an endpoint from the environment.
        ("aws_endpoint_url_s3", format!("http://{address}")),
        ("aws_allow_http", "true".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", ACCOUNT.to_owned()),
        ("aws_secret_access_key", SECRET.to_owned()),
        // The other mode, a header, is ignored by versitygw: copies overwrite.
        ("aws_copy_if_not_exists", "multipart".to_owned()),
    ]
}

/// fake-gcs-server behind the XML front: Cloud Storage, and generations decide creates.
pub(super) async fn gcs() -> Option<Server> {
    static BUILT: Built = OnceLock::new();
    let folder = folder();
    let mut command = Command::new(built(&BUILT, "gcs")?.join("bin/gcsfront"));
    command.args(["-addr", "127.0.0.1:0", "-bucket", BUCKET]);
    let mut process = Process::start(command, folder.path());
    let url = process.address().await;
    // `skip_signature` would not do: puts and deletes ask for a token all the same.
    let key = serde_json::json!({
        "gcs_base_url": url, "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "",
    });
    let options = vec![("google_service_account_key", key.to_string()), ("google_allow_http", "true".to_owned())];
    Some(Server::new("gs", options, process, folder))
}

/// Azurite: Azure Blob, and `If-None-Match` decides creates.
pub(super) async fn azure() -> Option<Server> {
    static BUILT: Built = OnceLock::new();
    let folder = folder();
    let mut command = Command::new(built(&BUILT, "azure")?.join("node_modules/.bin/azurite-blob"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--location"]).arg(folder.path().join("root"));
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{SECRET}"));
    let mut process = Process::start(command, folder.path());
    let url = format!("{}/{ACCOUNT}", process.address().await);
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(SECRET).unwrap());
    let made = status("PUT", &format!("{url}/{BUCKET}?restype=container"), Some(&key)).await;
    assert_eq!(made, Some(201), "Azurite made no container: {}", process.log());
    let options = vec![
        // Not the emulator's mode, which takes the port from the environment: one server for a whole process.
        ("azure_storage_endpoint", url),
        ("azure_allow_http", "true".to_owned()),
        ("azure_storage_account_name", ACCOUNT.to_owned()),
        ("azure_storage_account_key", SECRET.to_owned()),
    ];
    Some(Server::new("az", options, process, folder))
}

impl Server {
    fn new(scheme: &str, options: Vec<(&str, String)>, process: Process, folder: TempDir) -> Server {
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Server { url: format!("{scheme}://{BUCKET}/shop"), options, _process: process, _folder: folder }
    }
}

/// A server's process, killed and reaped when this is dropped, and where it writes what it has to say.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, folder: &Path) -> Process {
        let log = folder.join("log");
        let out = File::create(&log).unwrap();
        let errors = out.try_clone().unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(errors);
        Process { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")), log }
    }

    /// Asks until there is an answer; an error if the process ends first, or after [`START_MAX`].
    async fn wait<T>(&mut self, ask: impl AsyncFn() -> Option<T>) -> Result<T, String> {
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("{status}: {}", self.log()));
            }
            if let Some(answer) = ask().await {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("not ready after {START_MAX:?}: {}", self.log()))
    }

    /// The URL that the server says it listens on.
    async fn address(&mut self) -> String {
        let log = self.log.clone();
        let found = self.wait(async || listening(&std::fs::read_to_string(&log).unwrap_or_default())).await;
        found.unwrap_or_else(|reason| panic!("the server did not start: {reason}"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows "listens on" in the first whole line that has it.
fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listens on ")?;
    let (url, _) = rest.split_once('\n')?;
    Some(url.trim().to_owned())
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("fairway-").tempdir().unwrap()
}

/// An address on loopback that was free a moment ago.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Sends a request without a body and gives the status of the answer; none if there is no answer.
async fn status(method: &str, url: &str, key: Option<&AzureCredential>) -> Option<u16> {
    let options = ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(10));
    let client = ReqwestConnector::default().connect(&options).unwrap();
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = url.parse().unwrap();
    if let Some(key) = key {
        AzureAuthorizer::new(key, ACCOUNT).authorize(&mut request);
    }
    Some(client.execute(request).await.ok()?.status().as_u16())
}

/// The folder of the built servers, or why there is none. One for each server: it is built once for a process.
type Built = OnceLock<Result<PathBuf, String>>;

fn built(once: &'static Built, store: &str) -> Option<&'static Path> {
    match once.get_or_init(|| build(store)) {
        Ok(stores) => Some(stores),
        Err(reason) if std::env::var_os("FAIRWAY_REQUIRE_TOOLS").is_some_and(|value| value == "1") => {
            panic!("FAIRWAY_REQUIRE_TOOLS=1, and the test server {store} cannot be built: {reason}")
        }
        Err(reason) => {
            let thread = std::thread::current();
            say(&format!("SKIPPED: {} needs the test server {store}: {reason}", thread.name().unwrap_or("a test")));
            None
        }
    }
}

/// Runs `registry/stores/build`, which is done at once if nothing changed, and passes on what it says.
fn build(store: &str) -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/stores/build");
    let mut command = Command::new(script);
    command.arg(store).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{script}: {error}"))?;
    let mut last = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        last = line.map_err(|error| format!("{script}: {error}"))?;
        say(&last);
    }
    let output = child.wait_with_output().map_err(|error| format!("{script}: {error}"))?;
    match output.status.success() {
        true => Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        false => Err(format!("{last} ({script} {store}: {})", output.status)),
    }
}

/// To standard error itself: what `eprintln!` writes is hidden unless the test fails.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
