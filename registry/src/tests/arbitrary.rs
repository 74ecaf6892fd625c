//! Input that nobody expects: bytes, texts and trees at random. Nothing panics, what is written is
//! read back as it was, and no name leads out of its folder. The bytes of bundle archives are in
//! `oci/`, those of signatures in `sign/`.

use crate::commit::Header;
use crate::manifest::{File, Manifest};
use crate::state::{Entry, Operation, State, Verdict, Version};
use crate::{Digest, Reference, Registry, Retention, Timestamp, digests, names};
use object_store::path::Path;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

fn times() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn names_of_things() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9-]{0,20}"
}

fn trees() -> impl Strategy<Value = Digest> {
    any::<[u8; 8]>().prop_map(|seed| Digest::of(&seed))
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    (".{0,20}", any::<bool>(), times(), ".{0,40}").prop_map(|(actor, approved, time, reason)| Verdict {
        actor,
        approved,
        time,
        reason,
    })
}

fn versions() -> impl Strategy<Value = Version> {
    let numbers = (any::<u32>(), any::<f64>().prop_filter("finite", |x| x.is_finite()));
    let texts = (names_of_things(), btree_map("\\PC{1,10}", "\\PC{0,10}", 0..4), option::of("\\PC{0,20}"));
    (trees(), times(), numbers, texts, vec(verdicts(), 0..3), option::of(times())).prop_map(
        |(digest, registered, (bytes, metric), (run, labels, hold), verdicts, reigned)| Version {
            number: 0,
            digest,
            run,
            registered,
            bytes: bytes.into(),
            files: bytes,
            metrics: [("recall@20".to_owned(), metric)].into(),
            labels,
            verdicts,
            hold,
            reigned,
        },
    )
}

fn states() -> impl Strategy<Value = State> {
    let rules = (1_u32..50, 0_u32..400, 0_u32..400).prop_map(|(versions, days, rollback_days)| Retention {
        versions,
        days,
        rollback_days,
    });
    (vec(versions(), 0..6), btree_map(names_of_things(), 1_u64..6, 0..4), option::of(rules), btree_set(trees(), 0..4))
        .prop_map(|(versions, aliases, retention, condemned)| {
            let mut state = State { retention, ..State::default() };
            for version in versions {
                state.add(version);
            }
            let condemned: Vec<Digest> = condemned.into_iter().collect();
            state.condemn(&[2], &condemned, 7, Timestamp::UNIX_EPOCH);
            state.aliases = aliases.into_iter().filter(|(_, number)| state.versions.contains_key(number)).collect();
            state
        })
}

fn operations() -> impl Strategy<Value = Operation> {
    let (aliased, condemned) =
        ((names_of_things(), option::of(1_u64..9), option::of(1_u64..9), ".{0,20}"), vec(trees(), 0..3));
    prop_oneof![
        (1_u64..100).prop_map(|version| Operation::Registered { version }),
        aliased.prop_map(|(alias, from, to, reason)| Operation::Aliased { alias, from, to, reason }),
        (1_u64..9, trees(), any::<bool>()).prop_map(|(version, digest, approved)| Operation::Judged {
            version,
            digest,
            approved
        }),
        (1_u64..9, trees()).prop_map(|(version, digest)| Operation::Withdrawn { version, digest }),
        (1_u64..9, any::<bool>()).prop_map(|(version, held)| Operation::Held { version, held }),
        (names_of_things(), btree_set(".{0,9}", 0..3))
            .prop_map(|(alias, actors)| Operation::Protected { alias, actors }),
        (1_u64..9, ".{0,9}").prop_map(|(version, key)| Operation::Signed { version, key }),
        condemned.prop_map(|digests| Operation::Condemned { versions: vec![1, 2], digests }),
        vec(trees(), 0..3).prop_map(|digests| Operation::Swept { digests }),
        Just(Operation::Retained { retention: None }),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let who = (".{0,20}", ".{0,20}", names_of_things());
    (1_u64..1_000, who, times(), operations(), states()).prop_map(
        |(seq, (actor, reason, txn), time, operation, state)| {
            let previous = (seq > 1).then(|| "0".repeat(64));
            Entry { format: 1, seq, previous, txn, actor, reason, time, operation, state }
        },
    )
}

fn files() -> impl Strategy<Value = Vec<File>> {
    let file = ("[a-z]{1,8}(/[a-z.]{1,8}){0,3}", any::<u32>(), any::<[u8; 4]>()).prop_map(|(path, bytes, seed)| File {
        path,
        bytes: bytes.into(),
        sha256: crate::digest::sha256(&seed),
    });
    vec(file, 0..20)
}

proptest! {
    #[test]
    fn entries_are_read_as_they_were_written(entry in entries()) {
        let bytes = serde_json::to_vec(&entry).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Entry>(&bytes).unwrap(), entry.clone());
        let header = Header::read(&Path::from("x"), &bytes).unwrap();
        prop_assert_eq!((header.seq, header.previous, header.txn), (entry.seq, entry.previous, entry.txn));
        let named = digests::named(&bytes);
        prop_assert!(entry.state.versions.values().all(|version| named.contains(&version.digest)));
    }

    #[test]
    fn wild_entries_are_errors(bytes in vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(), entry in entries()) {
        let _ = Header::read(&Path::from("x"), &bytes);
        let _ = digests::named(&bytes);
        let _ = serde_json::from_slice::<Entry>(&bytes);
        let whole = serde_json::to_vec(&entry).unwrap();
        prop_assert!(serde_json::from_slice::<Entry>(&whole[..cut.index(whole.len())]).is_err(), "a torn entry");
    }

    #[test]
    fn manifests_hold_what_they_say(files in files(), flip in any::<prop::sample::Index>(), bit in 0_u8..8) {
        match Manifest::new(files.clone()) {
            Err(_) => {
                let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                paths.sort_unstable();
                let plain = paths.iter().all(|path| names::key("file", path).is_ok() && *path != "manifest.json");
                prop_assert!(files.is_empty() || !plain || paths.windows(2).any(|two| two[0] == two[1]));
            }
            Ok(manifest) => {
                let (bytes, digest) = manifest.seal().unwrap();
                prop_assert_eq!(Manifest::open(&bytes, &digest, "m").unwrap(), manifest);
                let mut changed = bytes.to_vec();
                let at = flip.index(changed.len());
                changed[at] ^= 1 << bit;
                prop_assert!(Manifest::open(&changed, &digest, "m").is_err());
                let _ = Manifest::open(&changed, &Digest::of(&changed), "m");
            }
        }
    }

    #[test]
    fn references_are_read_as_they_are_shown(text in "(models:/)?\\PC{0,40}", model in names_of_things(), number in any::<u64>(), digest in trees()) {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
        for text in [format!("models:/{model}/{number}"), format!("models:/{model}@{digest}"), format!("@{model}")] {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn no_key_leads_out_of_its_folder(text in "(\\.|/|\\\\|#|:|%2e|[a-zA-Z0-9_-]|\\PC|\\x00|\n){0,20}") {
        if names::key("file", &text).is_ok() {
            let folder = Path::from("shop/models/m");
            let inside = crate::run::under(&folder, &text);
            prop_assert!(inside.prefix_matches(&folder) && inside != folder);
            let local = std::path::Path::new("/root").join(&text);
            let normal = local.components().all(|part| !matches!(part, std::path::Component::ParentDir | std::path::Component::CurDir));
            prop_assert!(normal && local.starts_with("/root"));
            // The store writes the name as it is, so that what is listed is what was written.
            prop_assert_eq!(inside.as_ref(), format!("{}/{text}", folder.as_ref()));
        }
        if names::name("model", &text).is_ok() {
            prop_assert!(!text.contains('/') && text != "..");
        }
    }

    #[test]
    fn urls_are_refused_or_opened(scheme in "(s3|gs|az|file|memory|http|\\PC{0,4})", rest in "\\PC{0,30}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let url = format!("{scheme}://{rest}");
        // Directories are created, so that only URLs which cannot name one are opened here.
        if scheme != "file" {
            let opened = runtime.block_on(crate::place::Place::open(&url, &crate::StoreOptions::new()));
            if let Err(error) = opened {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn an_entry_of_arbitrary_text_survives_the_store() {
    let registry = Registry::open("memory://").await.unwrap();
    let model = registry.model("shop", "m").unwrap();
    let odd = "\u{202e}\"\\\u{0}\n é 🦀";
    model.register(super::tree("a").path(), super::registration("run-1")).await.unwrap();
    let entry = model.move_alias("mine", None, Some(1), odd, odd, super::time(0)).await.unwrap();
    let again = registry.model("shop", "m").unwrap().head().await.unwrap().unwrap();
    assert_eq!((again.actor.as_str(), again == entry), (odd, true));
}
