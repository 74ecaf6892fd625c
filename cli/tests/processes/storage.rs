//! `fairway storage-initializer`: what KServe's init container leaves in a folder, and what it refuses.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::shop::{MODEL, NAMESPACE, Shop};

/// A shop with one version, and a folder that is there before anybody fetches, as a mounted volume is.
struct Pod {
    shop: Shop,
    digest: String,
    volume: PathBuf,
}

impl Pod {
    async fn new() -> Self {
        let shop = Shop::new().await;
        let digest = shop.version("r1", json!({})).await;
        let volume = shop.path("volume");
        std::fs::create_dir(&volume).unwrap();
        Self { shop, digest, volume }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.shop.path(".")).env("FAIRWAY_REGISTRY", &self.shop.registry);
        command
    }

    /// Fetches what this part of a URI names into the volume. The exit code, and what was said.
    fn fetch(&self, rest: &str) -> (i32, String) {
        self.fetch_with(rest, &[])
    }

    fn fetch_with(&self, rest: &str, more: &[(&str, &str)]) -> (i32, String) {
        let mut command = self.command();
        command.args(["storage-initializer", &format!("fairway://{rest}")]).arg(&self.volume);
        let output = command.envs(more.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn registry(&self, words: &[&str]) {
        let mut command = self.command();
        let output = command.arg("registry").args(words).args(["--registry", &self.shop.registry]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// A version's folder in the registry.
    fn tree(&self, digest: &str) -> String {
        format!("registry/{NAMESPACE}/models/{MODEL}/versions/{}", digest.replace(':', "-"))
    }

    /// The volume has the very files of a version and no other.
    fn holds(&self, digest: &str) {
        let sorted = |below: &str| {
            let mut files = self.shop.files(below);
            files.sort();
            files
        };
        let files = sorted("volume");
        assert_eq!(files, sorted(&self.tree(digest)));
        for file in files {
            let read = |below: &Path| std::fs::read(below.join(&file)).unwrap();
            assert!(read(&self.volume) == read(&self.shop.path(&self.tree(digest))), "{file}");
        }
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.volume).unwrap().next().is_none()
    }
}

#[tokio::test]
async fn a_version_is_fetched_by_whatever_names_it() {
    let pod = Pod::new().await;
    pod.registry(&["alias", "set", "models:/shop/recs@champion", "1"]);
    let place = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let volume = place(&pod.volume);
    let (code, said) = pod.fetch("shop/recs@champion");
    assert!(code == 0 && said.contains("every byte checked") && said.contains(&pod.digest), "{said}");
    pod.holds(&pod.digest);
    fairway_model::Bundle::load(&pod.volume).unwrap();

    // Again, by its other names: nothing is fetched, and a mounted folder is never replaced.
    let weights = place(&pod.volume.join("weights.safetensors"));
    for rest in ["shop/recs@champion".to_owned(), "shop/recs/1".to_owned(), format!("shop/recs@{}", pod.digest)] {
        let (code, said) = pod.fetch(&rest);
        assert!(code == 0 && said.contains("is there already"), "{rest}: {said}");
    }
    assert_eq!((place(&pod.volume), place(&pod.volume.join("weights.safetensors"))), (volume, weights));

    // The alias moves on: a pod that is started again gets the version that it means then.
    let second = pod.shop.version("r2", json!({"seed": 2, "parameters": {"regularization": "20"}})).await;
    pod.registry(&["alias", "set", "models:/shop/recs@champion", "2"]);
    assert_eq!(pod.fetch("shop/recs@champion").0, 0);
    pod.holds(&second);
}

#[tokio::test]
async fn an_attempt_that_was_cut_off_is_made_good() {
    let pod = Pod::new().await;
    // Killed while files were moved: some are there, one is of no version, and the work is still beside them.
    std::fs::create_dir_all(pod.volume.join(".fairway/.fetch-1")).unwrap();
    std::fs::write(pod.volume.join("bundle.json"), "{").unwrap();
    std::fs::write(pod.volume.join("of-another-version"), "x").unwrap();
    assert_eq!(pod.fetch("shop/recs/1").0, 0);
    pod.holds(&pod.digest);
    // Somebody has written into the volume since.
    std::fs::write(pod.volume.join("golden.jsonl"), "").unwrap();
    std::fs::write(pod.volume.join("more"), "x").unwrap();
    let (code, said) = pod.fetch("shop/recs/1");
    assert!(code == 0 && said.contains("was fetched"), "{said}");
    pod.holds(&pod.digest);
}

#[tokio::test]
async fn what_is_not_a_version_leaves_the_folder_as_it_was() {
    let pod = Pod::new().await;
    for (rest, code, why) in [
        ("shop/recs/7", 1, "version models:/recs/7"),
        ("shop/recs@champion", 1, "does not exist"),
        ("shop/other@champion", 1, "does not exist"),
        ("shop/recs", 2, "write fairway://NAMESPACE/MODEL@champion"),
        ("recs/1", 2, "names no namespace"),
        ("Shop/recs/1", 2, "namespace `Shop`"),
    ] {
        let (found, said) = pod.fetch(rest);
        assert!(found == code && said.contains(why), "{rest}: {found} {said}");
        assert!(pod.is_empty(), "{rest}");
    }
    let (code, said) = pod.fetch_with("shop/recs/1", &[("FAIRWAY_REGISTRY", "")]);
    assert!(code == 2 && said.contains("FAIRWAY_REGISTRY is not set"), "{said}");

    // Somebody else's files are no business of ours.
    std::fs::write(pod.volume.join("notes.txt"), "mine").unwrap();
    let (code, said) = pod.fetch("shop/recs/1");
    assert!(code == 2 && said.contains("name an empty folder"), "{said}");
    assert_eq!(pod.shop.files("volume"), ["notes.txt"]);
    std::fs::remove_file(pod.volume.join("notes.txt")).unwrap();

    // A byte that is another in the bucket.
    let weights = pod.shop.path(&pod.tree(&pod.digest)).join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let (code, said) = pod.fetch("shop/recs/1");
    assert!(code == 1 && said.contains("do not use it"), "{said}");
    assert!(pod.is_empty());
}

#[tokio::test]
async fn with_keys_only_what_one_of_them_has_signed() {
    let pod = Pod::new().await;
    for name in ["mine", "other"] {
        let output = pod.command().args(["registry", "keygen", "--out", name]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let public = |name: &str| std::fs::read_to_string(pod.shop.path(&format!("{name}.pub.pem"))).unwrap();
    let both = format!("{}{}", public("other"), public("mine"));
    let with = |keys: &str| pod.fetch_with("shop/recs/1", &[("FAIRWAY_SIGNERS", keys)]);
    let (code, said) = with(&both);
    assert!(code == 2 && said.contains("none of the keys of FAIRWAY_SIGNERS") && pod.is_empty(), "{said}");
    let (code, said) = with("no key");
    assert!(code != 0 && said.contains("FAIRWAY_SIGNERS") && pod.is_empty(), "{said}");

    pod.registry(&["sign", "models:/shop/recs/1", "--key", "mine.pem"]);
    assert_eq!(with(&both).0, 0);
    pod.holds(&pod.digest);
    // What is there already is held against the keys as well.
    let (code, said) = with(&public("other"));
    assert!(code == 2 && said.contains("none of the keys"), "{code} {said}");
}
