//! `fairway registry` as people use it: a whole story on a registry in a folder, told by the binary alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fairway_model::{Bundle, BundleManifest, GoldenRequest, Popularity, Vocabulary};
use fairway_wire::Profile;
use serde_json::{Value, json};

/// A working directory, and the registry that commands in it speak of.
struct Desk {
    folder: tempfile::TempDir,
    registry: &'static str,
}

/// What a command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), registry: "registry" }
    }

    /// The same folder, with another registry.
    fn at(self, registry: &'static str) -> Self {
        Self { registry, ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `fairway registry` with these words.
    fn run(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.current_dir(self.folder.path()).arg("registry").args(words.split(' ')).env("FAIRWAY_ACTOR", "alice");
        let alone = ["init", "keygen"].iter().any(|name| words.starts_with(name)) || words.contains("--registry");
        if !alone {
            command.args(["--registry", self.registry]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn done(&self, words: &str) -> String {
        let said = self.run(words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words}: {said:?}");
        said.out
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{words} --output json"))).unwrap()
    }

    /// What the command says against it.
    fn refused(&self, words: &str, code: i32) -> String {
        let said = self.run(words);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{words}: {said:?}");
        said.err
    }
}

fn provenance(recall: f64, regularization: &str) -> String {
    json!({
        "format": 1,
        "model": "recs",
        "training": {"family": "ease", "parameters": {"regularization": regularization}},
        "evaluation": {"users": 100, "protocol": {"digest": "p"}, "candidate": {"overall": {"recall@20": recall}}},
    })
    .to_string()
}

/// Two versions, of which the first is champion.
fn two_versions() -> Desk {
    let desk = Desk::new();
    desk.done("init registry");
    for (number, recall, regularization, alias) in [(1, 0.31, "200", "champion"), (2, 0.35, "400", "challenger")] {
        desk.write(&format!("bundle{number}/bundle.json"), &format!("{{\"number\": {number}}}"));
        desk.write(&format!("bundle{number}/deep/ids.txt"), "a\nb\n");
        desk.write("provenance.json", &provenance(recall, regularization));
        let pushed = desk.json(&format!(
            "push bundle{number} --unchecked --model shop/recs --run run-{number} --alias {alias} --provenance provenance.json"
        ));
        assert_eq!((&pushed["version"]["number"], &pushed["new"]), (&json!(number), &json!(true)), "{pushed}");
    }
    desk
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn versions_come_in_and_aliases_move() {
    let desk = two_versions();
    let again = desk.json("push bundle1 --unchecked --model recs --run run-1");
    assert_eq!((&again["version"]["number"], &again["new"]), (&json!(1), &json!(false)), "one run, one version");
    let list = desk.json("list");
    let row = |i: usize| (&list[i]["version"], &list[i]["aliases"], &list[i]["metrics"]["recall@20"]);
    assert_eq!(row(0), (&json!(2), &json!(["challenger"]), &json!(0.35)));
    assert_eq!(row(1), (&json!(1), &json!(["champion"]), &json!(0.31)));

    assert!(desk.refused("alias set champion 2 --from 2", 1).contains("expected 2"), "somebody else was faster");
    assert!(desk.refused("alias set champion 2 --from none", 1).contains("expected absent"));
    let moved = desk.json("alias set champion @challenger --from 1 --reason better");
    assert_eq!((&moved["from"], &moved["to"], &moved["moved"]), (&json!(1), &json!(2), &json!(true)));
    assert!(desk.done("alias set champion 2").contains("already"), "nothing to do is no error");
    let history = desk.json("alias history models:/shop/recs@champion");
    let moves: Vec<_> = history.as_array().unwrap().iter().map(|it| (&it["from"], &it["to"], &it["reason"])).collect();
    assert_eq!(moves[0], (&json!(1), &json!(2), &json!("better")));
    assert_eq!((moves[1].0, moves[1].1, moves.len()), (&Value::Null, &json!(1), 2));
    let was = desk.json(&format!("alias history champion --at {}", history[1]["time"].as_str().unwrap()));
    assert_eq!((&was["version"], &was["entry"]["seq"]), (&json!(1), &json!(1)), "as it was before the move");
    let one_line = desk.done("alias history champion --at 2100-01-01");
    assert!(one_line.lines().count() == 1 && one_line.contains("version 2") && one_line.contains("better"));
    assert_eq!(desk.json("alias history champion --at 2020-01-01T00:00Z")["version"], Value::Null);

    desk.done("alias protect champion --only bob");
    assert!(desk.refused("alias set champion 1", 1).contains("only bob may move it"));
    desk.done("alias set champion 1 --actor bob");
    let words: Vec<String> = desk
        .json("log shop/recs")
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["words"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words[..2], ["@champion: version 2 -> version 1", "@champion: only bob may move it"]);
    assert_eq!(words.last().unwrap(), "registered version 1, @champion moved to it");
}

#[test]
fn versions_are_shown_compared_and_judged() {
    let desk = two_versions();
    let difference = desk.json("diff @champion @challenger");
    assert_eq!(difference["comparable"], json!(true), "{difference}");
    let changes = difference["changes"].as_array().unwrap();
    let change = |path: &str| changes.iter().find(|change| change["path"] == json!(path)).unwrap();
    assert_eq!(change("parameters.regularization")["after"], json!("400"));
    assert!(change("metrics.recall@20")["difference"].as_f64().unwrap() > 0.03);
    assert!(changes.iter().all(|change| change["path"] != json!("files.deep/ids.txt")), "the same in both");
    assert!(desk.done("diff 1 2").contains("+0.0400"));

    desk.done("approve @challenger --reason reviewed");
    desk.done("reject @challenger --reason biased --actor bob");
    let card = desk.done("show 2");
    assert!(card.starts_with("# shop/recs, version 2"), "{card}");
    assert!(card.contains("approved: reviewed") && card.contains("rejected: biased") && card.contains("recall@20"));
    let shown = desk.json("show models:/recs@challenger");
    assert_eq!(shown["provenance"]["training"]["family"], json!("ease"));
    assert_eq!(shown["version"]["verdicts"].as_array().unwrap().len(), 2);
    assert_eq!(shown["files"].as_array().unwrap().len(), 3, "provenance.json is one of them");
}

#[test]
fn signatures_hold_until_something_changes() {
    let desk = two_versions();
    let key = desk.json("keygen --out release");
    desk.refused("keygen --out release", 2);
    let others =
        std::os::unix::fs::PermissionsExt::mode(&desk.path("release.pem").metadata().unwrap().permissions()) & 0o077;
    assert_eq!(others, 0, "only its owner reads the private key");
    assert!(desk.refused("verify 1 --key release.pub.pem", 1).contains("NOT verified"), "not signed yet");
    desk.done("sign 1 --key release.pem");
    assert_eq!(desk.json("verify @champion --key release.pub.pem")["key"], key["key"]);
    desk.done("keygen --out other");
    assert!(desk.refused("pull 1 --to stranger --key other.pub.pem", 1).contains("NOT verified"));

    desk.write("full/x.txt", "x");
    desk.refused("pull 1 --to full", 2);
    desk.done("pull 1 --to deep/pulled --key other.pub.pem --key release.pub.pem");
    assert_eq!(names(&desk.path("deep")), ["pulled"], "nothing is left beside it");
    assert_eq!(
        names(&desk.path("deep/pulled")),
        ["bundle.json", "deep", "manifest.json", "model.sig", "provenance.json"]
    );
    assert_eq!(desk.json("verify ./deep/pulled --key release.pub.pem")["verified"], json!(true));
    desk.write("deep/pulled/bundle.json", "{\"number\": 7}");
    let error = desk.refused("verify ./deep/pulled --key release.pub.pem", 1);
    assert!(error.contains("bundle.json"), "{error}");
    desk.done("init second");
    let error = desk.refused("import deep/pulled --model a/b --key release.pub.pem --registry second", 1);
    assert!(error.contains("bundle.json"), "{error}");
    let pushed = desk.json("push deep/pulled --unchecked --model a/b --registry second");
    assert_eq!(pushed["sameDigest"], json!(false), "and without a key it is another version");
}

#[test]
fn versions_travel_with_their_digest() {
    let desk = two_versions();
    let digest = desk.json("show 1")["version"]["digest"].clone();
    desk.done("keygen --out release");
    desk.done("sign 1 --key release.pem");
    desk.json("export 1 --format modelcar --to car.tar");
    desk.json("export 1 --format modelpack --to pack --tag v1");
    desk.refused("export 1 --format modelcar --to car.tar", 2);
    desk.done("init second");
    let desk = desk.at("second");
    for (place, options) in [("car.tar", ""), ("pack", " --tag v1 --key release.pub.pem")] {
        let imported = desk.json(&format!("import {place} --model shop/recs{options}"));
        assert_eq!((&imported["version"]["digest"], &imported["sameDigest"]), (&digest, &json!(true)), "{place}");
        assert_eq!(imported["version"]["metrics"]["recall@20"], json!(0.31), "from its provenance");
    }
    desk.done("verify 2 --key release.pub.pem");
    assert_eq!(desk.json("import car.tar --model shop/recs")["new"], json!(false), "the same image, the same version");
    assert_eq!(names(desk.folder.path()).iter().filter(|name| name.starts_with(".fairway-")).count(), 0);

    desk.done("init third");
    let desk = desk.at("registry");
    let copied = desk.json("copy 1 --to-registry third --to-model lab/recs --alias candidate");
    assert_eq!((&copied["version"]["digest"], &copied["new"]), (&digest, &json!(true)));
    assert_eq!(desk.json("copy 1 --to-registry third --to-model lab/recs")["new"], json!(false));
    let desk = desk.at("third");
    assert_eq!(desk.json("show @candidate")["signed"], json!(true), "the signature came along");
    desk.done("verify @candidate --key release.pub.pem");
}

#[test]
fn what_nothing_keeps_is_deleted_for_good() {
    let desk = two_versions();
    desk.done("alias set champion 2");
    for alias in ["challenger", "previous"] {
        desk.done(&format!("alias remove {alias}"));
    }
    desk.done("hold 1 --reason case-7");
    let set = desk.json("retention set --versions 1 --rollback-days 0");
    assert_eq!(set["notKept"], json!([]), "a hold keeps it");
    desk.done("release 1");
    assert!(desk.done("retention show").contains("nothing keeps it"));

    let dry = desk.json("gc --dry-run --grace 0s");
    assert_eq!(dry[0]["collected"]["waiting"][0]["versions"], json!([1]));
    let waiting = desk.json("gc shop/recs");
    assert_eq!(
        (&waiting[0]["collected"]["deleted"], &waiting[0]["collected"]["waiting"][0]["versions"]),
        (&json!([]), &json!([1]))
    );
    desk.done("show 1");
    let error = desk.refused("show models:/shop/recs/9", 1);
    assert!(error.contains("does not exist"), "{error}");
    assert!(desk.done("gc --grace 0s --reason cleaning").contains("1 tree deleted"));
    let error = desk.refused("show 1", 1);
    assert!(error.contains("deleted by alice") && error.contains("cleaning"), "{error}");
    assert_eq!(desk.json("list").as_array().unwrap().len(), 1);
    assert_eq!(desk.json("log")[1]["operation"]["kind"], json!("condemned"));
    desk.done("retention clear");
}

#[test]
fn what_no_server_would_load_is_pushed_on_purpose_only() {
    let desk = Desk::new();
    desk.done("init registry");
    desk.write("typo/values.yaml", "a: 1\n");
    let error = desk.refused("push typo --model shop/recs", 2);
    assert!(error.contains("bundle.json") && error.contains("--unchecked"), "{error}");
    assert_eq!(desk.json("list"), json!([]), "nothing was registered");
    let told = desk.done("push typo --unchecked --model shop/recs");
    assert!(told.contains("models:/shop/recs/1"), "{told}");
    assert_eq!(desk.json("show models:/shop/recs/1")["version"]["number"], json!(1), "as it is told");

    let items = Vocabulary::from_names(["cup", "pan"]);
    let nobody = Vocabulary::from_names(Vec::<String>::new());
    let model = Popularity::new(items.clone(), nobody.clone(), vec![2.0, 1.0], Vec::new(), 1.0).unwrap();
    let golden = GoldenRequest::invent(&items, &nobody, 4, 1);
    let manifest = BundleManifest { model: "recs".to_owned(), run: "notebook".to_owned(), ..BundleManifest::default() };
    Bundle::write(&desk.path("sound"), manifest, &model, &Profile::default(), &golden).unwrap();
    desk.done("push sound --model shop/recs --alias challenger");
    desk.done("pull @challenger --to pulled");
    desk.done("push pulled --model shop/recs");
    std::fs::write(desk.path("sound/golden.jsonl"), "").unwrap();
    assert!(desk.refused("push sound --model shop/recs", 2).contains("golden.jsonl"));
}

#[test]
fn places_that_are_no_registry_are_left_alone() {
    let desk = Desk::new();
    let found = desk.json("init registry");
    assert_eq!((&found["created"], desk.json("init registry")["created"].clone()), (&json!(true), json!(false)));
    assert_eq!(desk.json("probe registry")["usable"], json!(true));
    assert_eq!(desk.json("probe")["usable"], json!(true), "the registry's own place");
    std::fs::create_dir(desk.path("folder")).unwrap();
    for place in ["folder", "nowhere"] {
        assert!(desk.refused(&format!("list --registry {place}"), 2).contains("fairway registry init"));
    }
    assert_eq!((names(&desk.path("folder")).len(), desk.path("nowhere").exists()), (0, false), "nothing was made");
    desk.refused("probe nowhere", 2);
    desk.refused("list --registry ftp://x", 2);
    desk.write("bundle/weights.bin", "x");
    assert!(desk.refused("push bundle --unchecked --model shop/recs", 2).contains("--kind"));
    assert!(
        desk.refused("push bundle --unchecked --model recs", 2).contains("shop/recs"),
        "a new model needs a namespace"
    );
    let error = desk.refused("list --store-option aws_secret_access_key=hidden", 2);
    assert!(error.contains("aws_secret_access_key") && !error.contains("hidden"), "{error}");
    let error = desk.refused("list --store-option hidden", 2);
    assert!(error.contains("NAME=VALUE") && !error.contains("hidden"), "{error}");
}
