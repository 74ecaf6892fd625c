//! The reference tool, model-signing 1.1.1 from PyPI, as the judge: it must accept what is signed
//! here, its signatures must be accepted here, and both must refuse the same trees.
//!
//! `FAIRWAY_MODEL_SIGNING` names its executable. Without it the tool is installed once into cargo's
//! target folder. Where that cannot be done the test says `SKIPPED`, and fails instead if
//! `FAIRWAY_REQUIRE_TOOLS=1` is set.

use super::*;
use crate::digest::sha256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tool and what decides its verdicts.
const PACKAGES: [&str; 4] =
    ["model-signing==1.1.1", "pyOpenSSL==26.4.0", "cryptography==50.0.2", "sigstore-models==0.0.6"];

#[test]
fn the_reference_tool_agrees() {
    let judge = match Judge::find() {
        Ok(judge) => judge,
        Err(reason) if std::env::var("FAIRWAY_REQUIRE_TOOLS").is_ok_and(|value| value == "1") => panic!("{reason}"),
        Err(reason) => {
            // Not by `eprintln!`, which is not shown for tests that pass.
            writeln!(std::io::stderr(), "SKIPPED: the interop test of model signatures: {reason}").unwrap();
            return;
        }
    };
    let desk = Desk::new();
    what_we_sign_is_accepted_there(&judge, &desk);
    what_is_signed_there_is_accepted_here(&judge, &desk);
    both_refuse_the_same(&judge, &desk);
}

fn what_we_sign_is_accepted_there(judge: &Judge, desk: &Desk) {
    // Beside the tree, by the specification's order of names, which is not the tool's own.
    let outside = desk.place("ours.sig");
    fs::write(&outside, sign("m", &desk.files(), &desk.key).unwrap()).unwrap();
    judge.accepts(desk, &outside);
    // Both may be absent.
    let text = fs::read_to_string(&outside).unwrap();
    let bare = text.replace(r#","keyid":"""#, "").replace(r#","tlogEntries":[]"#, "");
    assert!(!bare.contains("keyid") && !bare.contains("tlogEntries"));
    desk.write_and_agree(judge, "bare.sig", &bare, true);
    // In the tree, where Fairway keeps it.
    let inside = desk.tree().join(SIGNATURE);
    fs::rename(&outside, &inside).unwrap();
    judge.accepts(desk, &inside);
    fs::remove_file(inside).unwrap();
}

fn what_is_signed_there_is_accepted_here(judge: &Judge, desk: &Desk) {
    for place in [desk.place("theirs.sig"), desk.tree().join(SIGNATURE)] {
        judge.signs(&desk.tree(), desk, &place);
        let verified = verify(&fs::read(&place).unwrap(), &desk.files(), &[desk.key.public().clone()]).unwrap();
        assert_eq!((verified.name.as_str(), verified.key_hint), ("m", desk.key.public().hint()));
    }
    fs::remove_file(desk.tree().join(SIGNATURE)).unwrap();
    // A model without files is signed there, against the specification, and refused here.
    let empty = desk.place("empty");
    fs::create_dir(&empty).unwrap();
    let place = desk.place("empty.sig");
    judge.signs(&empty, desk, &place);
    assert!(verify(&fs::read(place).unwrap(), &[], &[desk.key.public().clone()]).is_err());
    assert!(sign("empty", &[], &desk.key).is_err());
}

fn both_refuse_the_same(judge: &Judge, desk: &Desk) {
    let tree = desk.tree();
    let text = String::from_utf8(sign("m", &desk.files(), &desk.key).unwrap()).unwrap();
    let agree = |name: &str| desk.write_and_agree(judge, name, &text, false);

    let config = fs::read(tree.join("config.json")).unwrap();
    fs::write(tree.join("config.json"), b"{\"a\":3}\n").unwrap();
    agree("a changed byte");
    fs::rename(tree.join("config.json"), tree.join("confiG.json")).unwrap();
    fs::write(tree.join("confiG.json"), &config).unwrap();
    agree("a renamed file");
    fs::remove_file(tree.join("confiG.json")).unwrap();
    agree("a missing file");
    fs::write(tree.join("config.json"), &config).unwrap();

    fs::create_dir(tree.join("a/.git")).unwrap();
    fs::write(tree.join("a/.git/x"), b"x").unwrap();
    agree("an extra file below a folder that is skipped only at the root");
    fs::remove_dir_all(tree.join("a/.git")).unwrap();

    // Here a link is never listed as what it is; as a plain file it was not signed.
    symlink(tree.join("config.json"), tree.join("link.json")).unwrap();
    agree("an added symbolic link");
    fs::remove_file(tree.join("link.json")).unwrap();

    fs::create_dir(tree.join(".git")).unwrap();
    fs::write(tree.join(".git/x"), b"x").unwrap();
    let place = desk.place("git.sig");
    fs::write(&place, &text).unwrap();
    judge.accepts(desk, &place);
    assert!(!desk.verifies(&text), "here a file that no signature covers is refused");
    fs::remove_dir_all(tree.join(".git")).unwrap();

    let other = PrivateKey::generate().unwrap();
    let foreign = String::from_utf8(sign("m", &desk.files(), &other).unwrap()).unwrap();
    desk.write_and_agree(judge, "another key", &foreign, false);
    let hint = foreign.replace(&other.public().hint(), &desk.key.public().hint());
    desk.write_and_agree(judge, "another key under the hint of ours", &hint, false);

    let payload = text.split(r#""payload":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let altered =
        String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap().replace(r#""name":"m""#, r#""name":"n""#);
    let altered = text.replace(payload, &STANDARD.encode(altered));
    desk.write_and_agree(judge, "an altered statement", &altered, false);
    assert!(desk.verifies(&text), "the tree is whole again");
}

/// The reference tool.
struct Judge {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Judge {
    fn find() -> std::result::Result<Judge, String> {
        run(Command::new("openssl").arg("version"))?;
        if let Some(program) = std::env::var_os("FAIRWAY_MODEL_SIGNING") {
            return Ok(Judge { program: program.into(), arguments: vec![] });
        }
        let cache = Judge::cache()?;
        let python = cache.join("bin").join("python3");
        if !python.exists() {
            // Made aside and moved, so that a run that is cut short leaves nothing half done. Another
            // run may be faster; then its copy is used.
            let made = cache.with_extension(format!("partial-{}", std::process::id()));
            let done = run(Command::new("python3").args(["-m", "venv"]).arg(&made)).and_then(|()| {
                let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
                run(Command::new(made.join("bin").join("python3")).args(pip).args(PACKAGES))
            });
            if done.is_err() || fs::rename(&made, &cache).is_err() {
                let _ = fs::remove_dir_all(&made);
            }
            done?;
        }
        Ok(Judge { program: python, arguments: vec!["-m".to_owned(), "model_signing".to_owned()] })
    }

    /// `target/<profile>/`, two above the test program.
    fn cache() -> std::result::Result<PathBuf, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let folder = program.ancestors().nth(2).ok_or("the test program is in no target folder")?;
        Ok(folder.join("fairway-model-signing-1.1.1"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    fn verdict(&self, desk: &Desk, signature: &Path) -> std::result::Result<(), String> {
        let mut command = self.command();
        command.args(["verify", "key"]).arg(desk.tree()).arg("--signature").arg(signature);
        run(command.arg("--public_key").arg(desk.place("key.pub")))
    }

    fn accepts(&self, desk: &Desk, signature: &Path) {
        self.verdict(desk, signature).unwrap();
    }

    fn signs(&self, tree: &Path, desk: &Desk, signature: &Path) {
        let mut command = self.command();
        command.args(["sign", "key"]).arg(tree).arg("--signature").arg(signature);
        run(command.arg("--private_key").arg(desk.place("key.pem"))).unwrap();
    }
}

/// A folder with a tree `m` and a key pair, made by OpenSSL.
struct Desk {
    folder: tempfile::TempDir,
    key: PrivateKey,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("key.pem");
        let words = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"];
        run(Command::new("openssl").args(words).arg(&place)).unwrap();
        let key = PrivateKey::from_pem(&fs::read_to_string(&place).unwrap()).unwrap();
        fs::write(folder.path().join("key.pub"), key.public().to_pem()).unwrap();
        let desk = Desk { folder, key };
        fs::create_dir_all(desk.tree().join("a")).unwrap();
        for (name, content) in [("config.json", "{\"a\":1}\n"), ("a/b", "1"), ("a-b", "2"), ("a.b", "3"), ("empty", "")]
        {
            fs::write(desk.tree().join(name), content).unwrap();
        }
        desk
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tree(&self) -> PathBuf {
        self.place("m")
    }

    /// All files of the tree but the signature.
    fn files(&self) -> Vec<Resource> {
        let (mut files, mut folders) = (Vec::new(), vec![self.tree()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.tree()).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name != SIGNATURE {
                    files.push(Resource { name, sha256: sha256(&fs::read(&path).unwrap()) });
                }
            }
        }
        files
    }

    fn verifies(&self, bundle: &str) -> bool {
        verify(bundle.as_bytes(), &self.files(), &[self.key.public().clone()]).is_ok()
    }

    /// Asserts that both accept the bundle, or that both refuse it.
    fn write_and_agree(&self, judge: &Judge, what: &str, bundle: &str, good: bool) {
        assert_eq!(self.verifies(bundle), good, "here: {what}");
        let place = self.place("judged.sig");
        fs::write(&place, bundle).unwrap();
        let verdict = judge.verdict(self, &place);
        assert_eq!(verdict.is_ok(), good, "there: {what}: {verdict:?}");
        // A crash is no verdict.
        let judged = verdict.err().is_none_or(|told| told.contains("Verification failed with error"));
        assert!(judged, "there: {what}: no verdict");
    }
}

/// Runs a program to its end; what it wrote is the error.
fn run(command: &mut Command) -> std::result::Result<(), String> {
    let output = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {told}", command.get_program().display(), output.status))
}
