//! A real S3 server on loopback, the one that the registry's tests build (`registry/stores/build`). Where it cannot be built
//! that is said on standard error, and there is none; with FAIRWAY_REQUIRE_TOOLS=1 it is an error.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fairway_registry::StoreOptions;

pub const BUCKET: &str = "models";
const ACCOUNT: &str = "fairway";
const SECRET: &str = "dGVzdHMtb24tbG9vcGJhY2stb25seQ==";
const START_MAX: Duration = Duration::from_secs(30);
const PORTS_MAX: u32 = 5;

/// A running server with an empty bucket.
pub struct S3 {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl S3 {
    /// How a library reaches it.
    pub fn options(&self) -> StoreOptions {
        [
            ("aws_endpoint_url_s3", format!("http://{}", self.address)),
            ("aws_allow_http", "true".to_owned()),
            ("aws_region", "us-east-1".to_owned()),
            ("aws_access_key_id", ACCOUNT.to_owned()),
            ("aws_secret_access_key", SECRET.to_owned()),
            ("aws_copy_if_not_exists", "multipart".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// How a process does.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCOUNT.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Puts an object there, as a file below the server's folder.
    pub fn put(&self, key: &str, text: &str) {
        let path = self.folder.path().join("root").join(BUCKET).join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Starts one.
pub async fn start() -> Option<S3> {
    let program = built()?.join("bin/versitygw");
    for _ in 0..PORTS_MAX {
        let folder = tempfile::Builder::new().prefix("fairway-").tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("root").join(BUCKET)).unwrap();
        // A path of its own: an answer there comes from this process, whoever else wanted the port.
        let health = format!("/{}", folder.path().file_name().unwrap().to_str().unwrap());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new(&program);
        command.args(["--port", &address, "--health", &health, "--quiet", "--keep-alive", "posix"]);
        command.arg(folder.path().join("root")).env("ROOT_ACCESS_KEY", ACCOUNT).env("ROOT_SECRET_KEY", SECRET);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = S3 { process: command.spawn().unwrap(), address, folder };
        let begun = Instant::now();
        while begun.elapsed() < START_MAX && server.process.try_wait().unwrap().is_none() {
            if answers(&server.address, &health) {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("the S3 server did not start on any of {PORTS_MAX} ports");
}

fn answers(address: &str, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.ends_with(" 200"))
}

fn built() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../registry/stores/build");
    let output = Command::new(script).arg("s3").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        failed if std::env::var_os("FAIRWAY_REQUIRE_TOOLS").is_some_and(|value| value == "1") => {
            panic!("FAIRWAY_REQUIRE_TOOLS=1, and the test server s3 cannot be built: {failed:?}")
        }
        failed => {
            let why = failed.map(|output| output.status.to_string()).unwrap_or_else(|error| error.to_string());
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs the test server s3 ({why})");
            None
        }
    }
}
