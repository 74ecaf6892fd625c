//! `fairway registry keygen`: a pair of keys to sign with.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use fairway_registry::sign::PrivateKey;
use serde_json::json;

use crate::exit::{Code, Invalid};
use crate::output::Output;

/// Make a pair of keys to sign with
///
/// Makes a pair of ECDSA P-256 keys: NAME.pem signs and is readable by you alone, NAME.pub.pem verifies and may be given to
/// everybody. Nothing is overwritten. Keep the private one where secrets are kept: it is not encrypted, and whoever has it
/// can sign in your name.
///
/// Example:  fairway registry keygen --out release
#[derive(Debug, Args)]
pub struct Keygen {
    /// The files' name, without their ending
    #[arg(long, value_name = "NAME")]
    pub out: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Makes the keys.
///
/// # Errors
/// One of the files is there already, or cannot be written.
pub fn run(keygen: &Keygen) -> Result<Code> {
    let file = |ending: &str| {
        let mut name = keygen.out.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    if keygen.out.file_name().is_none() {
        bail!(Invalid(format!("{}: name a file, such as release", keygen.out.display())));
    }
    let (private, public) = (file(".pem"), file(".pub.pem"));
    if public.exists() {
        bail!(Invalid(format!("{} exists already: name another one", public.display())));
    }
    let key = PrivateKey::generate()?;
    write(&private, key.to_pem()?.as_bytes(), 0o600)?;
    write(&public, key.public().to_pem().as_bytes(), 0o644)?;
    let hint = key.public().hint();
    let value = json!({"private": private, "public": public, "key": hint});
    keygen.output.print(&value, |_| {
        format!(
            "key {}\n  signs     {} (keep it secret)\n  verifies  {} (give it to everybody)",
            &hint[..12],
            private.display(),
            public.display()
        )
    })?;
    Ok(Code::Done)
}

/// A new file; one that is there is left alone.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!(Invalid(format!("{} exists already: name another one", path.display())))
        }
        made => made.with_context(|| format!("writing {}", path.display()))?,
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("writing {}", path.display()))
}
