//! Today's Python tools, in a process of their own: requests and columns of numbers go in, answers come out.
//!
//! The Python is `FAIRWAY_PEERS_PYTHON`; without it one is made under the system's temporary directory, once for each
//! text of `requirements.txt`. What it measures and answers is `peers_drift.py`'s part.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Error, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers_drift.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt");

/// The process. It ends when it is dropped.
pub struct Peers {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
}

impl Peers {
    /// Starts it, and says which versions answer.
    ///
    /// # Errors
    /// When there is no such Python, or the packages cannot be installed.
    pub fn start() -> Result<Self> {
        let python = match std::env::var_os("FAIRWAY_PEERS_PYTHON") {
            Some(python) => python.into(),
            None => environment()?,
        };
        let mut child = Command::new(python).arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or_else(gone)?);
        let mut peers = Self { child, input: input.map(BufWriter::new), output: BufReader::new(output) };
        println!("Peers: {}", peers.ask(&serde_json::json!({"ask": "versions"}), &[])?);
        Ok(peers)
    }

    /// The answer to `request` about `columns`.
    ///
    /// # Errors
    /// When the process has ended; why, it has said on standard error.
    pub fn ask(&mut self, request: &Value, columns: &[&[f64]]) -> Result<Value> {
        let input = self.input.as_mut().ok_or_else(gone)?;
        writeln!(input, "{request}")?;
        for value in columns.iter().copied().flatten() {
            input.write_all(&value.to_le_bytes())?;
        }
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| gone())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Without input it ends by itself.
        self.input = None;
        if let Err(error) = self.child.wait() {
            eprintln!("the Python tools did not end: {error}");
        }
    }
}

fn gone() -> Error {
    Error::other("the Python tools gave no answer; what they said is above")
}

fn environment() -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    std::fs::read(REQUIREMENTS)?.hash(&mut hasher);
    let place = std::env::temp_dir().join(format!("fairway-bench-peers-{:016x}", hasher.finish()));
    let (python, done) = (place.join("bin/python"), place.join("installed"));
    if !done.exists() {
        println!("installing {REQUIREMENTS} into {}", place.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        run(Command::new(&python).args(["-m", "pip", "install", "-q", "-r", REQUIREMENTS]))?;
        std::fs::write(done, "")?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    let program = Path::new(command.get_program()).display();
    if status.success() { Ok(()) } else { Err(Error::other(format!("{program} failed; set FAIRWAY_PEERS_PYTHON"))) }
}
