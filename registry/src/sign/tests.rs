//! Tests of signatures as a whole: the golden vector, what is accepted, what is refused and how it is said.

use super::envelope::{BUNDLE_MAX, KEYS_MAX, MEDIA_TYPE, PAYLOAD_TYPE, open, pae, seal};
use super::*;
use crate::digest::sha256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
static OTHER: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

fn file(name: &str, content: &[u8]) -> Resource {
    Resource { name: name.to_owned(), sha256: sha256(content) }
}

/// The files of the golden vector.
fn files() -> Vec<Resource> {
    vec![
        file("config.json", b"{\"a\":1}\n"),
        file("sub/x.txt", b"hi\n"),
        file("weights.safetensors", &vec![0; 100_000]),
    ]
}

/// The root digest of the golden vector.
const ROOT: &str = "b590e2b069651bad13eea7153317071d03be1eb2230f042db2ab44ece049b3bc";

fn trusted() -> Vec<PublicKey> {
    vec![KEY.public().clone()]
}

/// The bundle of the golden files, as a value to be changed.
fn bundle() -> Value {
    serde_json::from_slice(&sign("m", &files(), &KEY).unwrap()).unwrap()
}

/// The statement of the golden files, as a value to be changed.
fn statement() -> Value {
    let payload = STANDARD.decode(bundle()["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn verify_json(bundle: &Value) -> Result<Verified> {
    verify(bundle.to_string().as_bytes(), &files(), &trusted())
}

/// What comes of a statement that a trusted key signed, against the golden files.
fn verify_signed(payload: &[u8]) -> Result<Verified> {
    verify(&seal(payload, &KEY).unwrap(), &files(), &trusted())
}

/// Asserts that it was refused with this path and with these words in the message.
fn refusal(result: Result<Verified>, path: &str, words: &str) {
    match result {
        Err(Error::Refused { path: found, reason }) => {
            assert!(found == path && reason.contains(words), "expected {path}: {words}; got {found}: {reason}");
        }
        other => panic!("expected {path}: {words}; got {other:?}"),
    }
}

#[test]
fn the_golden_vector() {
    let files = statement::sorted(&files()).unwrap();
    let payload = Statement::new("m", &files).unwrap().to_bytes().unwrap();
    assert_eq!(payload.len(), 747);
    assert_eq!(sha256(&payload), "6ae647fbdfdf85b7370e85e670ab37378281fe486a455d0d600d0a0f233a3f1d");
    let pae = pae(&payload);
    assert_eq!(pae.len(), 790);
    assert_eq!(sha256(&pae), "fb1cd34a41ad54c4f6c40a6a16ab44262e34a30df8ccc476807135a91e52fabd");
}

#[test]
fn what_is_signed_is_verified_and_said_the_same_way_each_time() {
    let bytes = sign("m", &files(), &KEY).unwrap();
    let mut turned = files();
    turned.reverse();
    assert_eq!(sign("m", &turned, &KEY).unwrap(), bytes);
    let keys = [OTHER.public().clone(), KEY.public().clone()];
    let verified = verify(&bytes, &turned, &keys).unwrap();
    assert_eq!(verified, Verified { name: "m".to_owned(), key_hint: KEY.public().hint(), root: ROOT.to_owned() });
    let bundle = bundle();
    assert_eq!(bundle["mediaType"], MEDIA_TYPE);
    assert_eq!(bundle["verificationMaterial"], json!({"publicKey": {"hint": KEY.public().hint()}, "tlogEntries": []}));
    assert_eq!(bundle["dsseEnvelope"]["signatures"][0]["keyid"], "");
}

#[test]
fn what_the_specification_leaves_open_is_accepted() {
    let raw = |bytes: &[u8]| json!({"rawBytes": STANDARD.encode(bytes), "keyDetails": "PKIX_ECDSA_P256_SHA_256"});
    let pem = KEY.public().to_pem().to_owned();
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let keys =
        [json!({}), json!({"hint": null}), raw(pem.as_bytes()), raw(pem.replace('\n', "\r\n").as_bytes()), raw(&der)];
    for key in keys {
        let mut bundle = bundle();
        bundle["verificationMaterial"] = json!({ "publicKey": key });
        verify_json(&bundle).unwrap();
    }
    let mut bundle = bundle();
    for keyid in [json!(null), json!("")] {
        bundle["dsseEnvelope"]["signatures"][0]["keyid"] = keyid;
        verify_json(&bundle).unwrap();
    }
    bundle["dsseEnvelope"]["signatures"][0].as_object_mut().unwrap().remove("keyid");
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    bundle["dsseEnvelope"]["payload"] = URL_SAFE.encode(payload).into();
    verify(serde_json::to_string_pretty(&bundle).unwrap().as_bytes(), &files(), &trusted()).unwrap();
}

#[test]
fn what_other_signers_write_is_accepted() {
    let mut statement = statement();
    let paths = ["model.sig", ".gitignore", ".github", ".git", ".gitattributes"];
    statement["predicate"]["serialization"]["ignore_paths"] = json!(paths);
    statement["predicate"]["resources"][0]["mediaType"] = "application/json".into();
    statement["subject"][0]["name"] = "É\u{1b}[2J".into();
    // `model_signing` indents its statements.
    let verified = verify_signed(serde_json::to_string_pretty(&statement).unwrap().as_bytes()).unwrap();
    assert_eq!((verified.name.as_str(), verified.root.as_str()), ("É\\u{1b}[2J", ROOT));
    statement["predicate"]["serialization"].as_object_mut().unwrap().remove("ignore_paths");
    verify_signed(statement.to_string().as_bytes()).unwrap();
}

#[test]
fn both_orders_in_use_are_accepted_and_the_first_is_written() {
    let files = [file("a-b", b"1"), file("a/b", b"2"), file("a.b", b"3")];
    let listed = |names: [usize; 3]| names.map(|i| files[i].clone());
    let mut roots = Vec::new();
    for (order, good) in [([0, 2, 1], true), ([1, 0, 2], true), ([0, 1, 2], false), ([2, 1, 0], false)] {
        let payload = Statement::new("m", &listed(order)).unwrap().to_bytes().unwrap();
        let result = verify(&seal(&payload, &KEY).unwrap(), &files, &trusted());
        assert_eq!(result.is_ok(), good, "{order:?}: {result:?}");
        roots.extend(result.map(|verified| verified.root));
    }
    let ours = verify(&sign("m", &files, &KEY).unwrap(), &files, &trusted()).unwrap();
    assert_eq!(ours.root, roots[0]);
    assert_ne!(roots[0], roots[1]);
}

#[test]
fn bundles_that_do_not_hold() {
    let change = |pointer: &str, value: Value| {
        let mut bundle = bundle();
        *bundle.pointer_mut(pointer).unwrap() = value;
        bundle
    };
    let raw = json!({"rawBytes": STANDARD.encode(OTHER.public().to_pem())});
    let no_key = json!({"rawBytes": STANDARD.encode("x")});
    let entry = json!({"logIndex": "1"});
    let one = bundle()["dsseEnvelope"]["signatures"][0].clone();
    let cases = [
        (change("/mediaType", json!("application/vnd.dev.sigstore.bundle.v0.4+json")), "has media type `application"),
        (change("/mediaType", json!(null)), "has media type ``"),
        (change("/verificationMaterial", json!({"certificate": {"rawBytes": ""}})), "certificates"),
        (change("/verificationMaterial", json!({"publicKey": {}, "x509CertificateChain": {}})), "certificates"),
        (change("/verificationMaterial", json!({"tlogEntries": []})), "names no public key"),
        (change("/verificationMaterial/tlogEntries", json!([entry])), "transparency log"),
        (change("/verificationMaterial/publicKey/hint", json!("beef")), "names key `beef`, which is none of the 1"),
        (change("/verificationMaterial/publicKey", raw), "none of the 1 trusted keys"),
        (change("/verificationMaterial/publicKey", no_key), "not ECDSA P-256"),
        (change("/dsseEnvelope/payloadType", json!("text/plain")), "payload type `text/plain`"),
        (change("/dsseEnvelope/payload", json!("e30=!")), "payload is no base64"),
        (change("/dsseEnvelope/payload", json!("e30=")), "signature does not hold"),
        (change("/dsseEnvelope/signatures/0/sig", json!("====")), "signature is no base64"),
        (change("/dsseEnvelope/signatures/0/sig", json!("AAAA")), "signature does not hold"),
        (change("/dsseEnvelope/signatures", json!([])), "has 0 signatures"),
        (change("/dsseEnvelope/signatures", json!([one, one])), "has 2 signatures"),
        (change("/dsseEnvelope/signatures/0", json!({"sig": "AAAA", "alg": "none"})), "unknown field `alg`"),
        (change("/dsseEnvelope", json!(null)), "is not the JSON it should be"),
    ];
    for (bundle, words) in cases {
        refusal(verify_json(&bundle), "model.sig", words);
    }
    let good = bundle().to_string();
    let twice = good.replacen(r#""payload":"#, r#""payload":"e30=","payload":"#, 1);
    refusal(verify(twice.as_bytes(), &files(), &trusted()), "model.sig", "the key `payload` is there twice");
    let long = good.clone() + &" ".repeat(BUNDLE_MAX);
    refusal(verify(long.as_bytes(), &files(), &trusted()), "model.sig", "at most 4194304");
    refusal(verify(good.as_bytes(), &files(), &[OTHER.public().clone()]), "model.sig", "none of the 1 trusted keys");
    for count in [0, KEYS_MAX + 1] {
        let keys = vec![KEY.public().clone(); count];
        let error = verify(good.as_bytes(), &files(), &keys).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_hint_cannot_lend_trust() {
    let mut bundle: Value = serde_json::from_slice(&sign("m", &files(), &OTHER).unwrap()).unwrap();
    for key in [json!({"hint": KEY.public().hint()}), json!({})] {
        bundle["verificationMaterial"]["publicKey"] = key;
        refusal(verify_json(&bundle), "model.sig", "signature does not hold");
    }
}

#[test]
fn the_signing_bug_of_early_versions_is_not_accepted() {
    let payload = statement().to_string();
    let head = format!("{} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let mut bundle = bundle();
    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(&payload).into();
    for (message, good) in [
        (format!("DSSEv1 {head}{payload}"), true),
        (format!("DSSEV1 {head}{payload}"), false),
        (format!("DSSEV1 {head}b'{payload}'"), false),
        (payload.clone(), false),
    ] {
        let sig = STANDARD.encode(KEY.sign(message.as_bytes()).unwrap());
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = sig.into();
        assert_eq!(verify_json(&bundle).is_ok(), good, "{}", &message[..8]);
    }
}

#[test]
fn signed_statements_that_say_too_much_or_too_little() {
    let change = |pointer: &str, value: Value| {
        let mut statement = statement();
        *statement.pointer_mut(pointer).unwrap() = value;
        statement
    };
    let serialization = |key: &str, value: Value| {
        let mut statement = statement();
        statement["predicate"]["serialization"][key] = value;
        statement
    };
    let first = statement()["predicate"]["resources"][0].clone();
    let second = statement()["predicate"]["resources"][1].clone();
    let slsa = "https://slsa.dev/provenance/v1";
    let cases = [
        (change("/_type", json!("https://in-toto.io/Statement/v0.1")), "has type `https://in-toto.io/Statement/v0.1`"),
        (change("/predicateType", json!(slsa)), "has predicate type `https://slsa.dev/provenance/v1`"),
        (change("/predicateType", json!("https://model_signing/Digests/v0.1")), "has predicate type"),
        (change("/subject", json!([])), "must be about one model"),
        (change("/subject/0/name", json!("")), "names no model"),
        (change("/subject/0/digest/sha256", json!("0".repeat(64))), "has the root digest `0000"),
        (change("/subject/0/digest", json!({"sha512": ""})), "missing field `sha256`"),
        (change("/predicate/resources", json!([])), "lists 0 files"),
        (change("/predicate/resources", json!([first, first])), "not sorted, or one of them twice"),
        (change("/predicate/resources", json!([second, first])), "not sorted"),
        (change("/predicate/resources/0/algorithm", json!("blake3")), "hashes with `blake3`"),
        (change("/predicate/resources/0/digest", json!("e3")), "lists `config.json`, which has no sha-256"),
        (change("/predicate/resources/0/name", json!("../config.json")), "lists `../config.json`, which must not"),
        (change("/predicate/resources/0/name", json!("/etc/passwd")), "none may be absolute"),
        (change("/predicate/resources/0/name", json!(".git/config")), "is skipped by other verifiers"),
        (change("/predicate/resources/0/name", json!("model.sig")), "cannot cover itself"),
        (serialization("method", json!("shards")), "hashes by `shards`"),
        (serialization("shard_size", json!(1_000_000_000)), "this version reads only `files`"),
        (serialization("hash_type", json!("blake2b")), "hashes with `blake2b`"),
        (serialization("allow_symlinks", json!(true)), "allows symbolic links"),
        (serialization("ignore_paths", json!([".git", "weights.safetensors"])), "leaves out `weights.safetensors`"),
        (serialization("ignore_paths", json!(["sub/model.sig"])), "leaves out `sub/model.sig`"),
        (serialization("ignore_paths", json!([".git/"])), "leaves out `.git/`"),
        (serialization("extra", json!(1)), "unknown field `extra`"),
        (json!([]), "is not the JSON it should be"),
    ];
    for (statement, words) in cases {
        refusal(verify_signed(statement.to_string().as_bytes()), "model.sig", words);
    }
    let good = statement().to_string();
    let twice = good.replacen(r#""method":"#, r#""method":"files","method":"#, 1);
    refusal(verify_signed(twice.as_bytes()), "model.sig", "the key `method` is there twice");
    refusal(verify_signed((good + "{}").as_bytes()), "model.sig", "is not the JSON it should be");
    refusal(verify_signed(b"\xff"), "model.sig", "is not the JSON it should be");
    let many: Vec<Resource> = (0..=RESOURCES_MAX).map(|i| file(&format!("f{i:04}"), b"")).collect();
    let payload = Statement::new("m", &many).unwrap().to_bytes().unwrap();
    refusal(verify_signed(&payload), "model.sig", "lists 1002 files");
}

#[test]
fn the_first_file_that_differs_is_named() {
    let bytes = sign("m", &files(), &KEY).unwrap();
    let [config, text, weights] = files().try_into().unwrap();
    let moved = Resource { name: "sub/y.txt".to_owned(), ..text.clone() };
    let changed = Resource { sha256: sha256(b"hi!\n"), ..text.clone() };
    let copy = Resource { name: "copy.json".to_owned(), ..config.clone() };
    let cases = [
        (vec![&config, &weights], "sub/x.txt", "was signed but is missing"),
        (vec![&weights], "config.json", "was signed but is missing"),
        (vec![&config, &changed, &weights], "sub/x.txt", "was changed: it has sha256"),
        (vec![&config, &moved, &weights], "sub/x.txt", "is missing; its content is there as `sub/y.txt`"),
        (vec![&config, &text, &moved, &weights], "sub/y.txt", "is there but was not signed"),
        (vec![&config, &copy, &text, &weights], "copy.json", "is there but was not signed"),
        // Twice the same content: a copy is no renamed file.
        (vec![&copy, &changed, &weights], "config.json", "its content is there as `copy.json`"),
    ];
    for (there, path, words) in cases {
        let there: Vec<Resource> = there.into_iter().cloned().collect();
        refusal(verify(&bytes, &there, &trusted()), path, words);
    }
    let earlier = Resource { name: "a.txt".to_owned(), ..text };
    refusal(verify(&bytes, &[config, earlier, weights], &trusted()), "a.txt", "its content was signed as `sub/x.txt`");
}

#[test]
fn trees_that_cannot_be_signed_or_verified() {
    let bytes = sign("m", &files(), &KEY).unwrap();
    let with = |name: &str| [files(), vec![file(name, b"x")]].concat();
    let upper = Resource { name: "x".to_owned(), sha256: "A".repeat(64) };
    let many = (0..=RESOURCES_MAX).map(|i| file(&format!("f{i}"), b"")).collect();
    let cases = [
        (vec![], "the tree", "has 0 files"),
        (many, "the tree", "has 1002 files, must have 1 to 1001"),
        (with("config.json"), "config.json", "is there twice"),
        (with("../x"), "../x", "must not hold `.` or `..`"),
        (with("/x"), "/x", "none may be absolute"),
        (with("a\nb"), "a\\nb", "may hold only"),
        (with(".git/hooks/x"), ".git/hooks/x", "remove it from the tree"),
        (with(".gitattributes"), ".gitattributes", "remove it from the tree"),
        (with(".github/x"), ".github/x", "remove it from the tree"),
        (with(".gitignore"), ".gitignore", "remove it from the tree"),
        (with("model.sig"), "model.sig", "cannot cover itself"),
        ([files(), vec![upper]].concat(), "x", "has no sha-256"),
    ];
    for (tree, path, words) in cases {
        refusal(verify(&bytes, &tree, &trusted()), path, words);
        let error = sign("m", &tree, &KEY).unwrap_err();
        assert!(matches!(&error, Error::Refused { path: found, .. } if found == path), "{error}");
    }
    for good in ["sub/.git/config", ".gitmodules", ".git2/x", "sub/model.sig", "manifest.json"] {
        let tree = with(good);
        verify(&sign("m", &tree, &KEY).unwrap(), &tree, &trusted()).unwrap();
    }
    for name in ["", "a\n", &"x".repeat(254)] {
        assert!(matches!(sign(name, &files(), &KEY), Err(Error::Invalid { .. })), "{name:?}");
    }
}

#[test]
fn the_largest_tree_fits() {
    let name = |i: usize| format!("{}/{}/{}{i:04}", "d".repeat(200), "e".repeat(200), "f".repeat(100));
    let tree: Vec<Resource> = (0..RESOURCES_MAX).map(|i| file(&name(i), b"")).collect();
    let bytes = sign(&"n".repeat(253), &tree, &KEY).unwrap();
    assert!(bytes.len() < BUNDLE_MAX / 2, "{}", bytes.len());
    verify(&bytes, &tree, &trusted()).unwrap();
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let good = sign("m", &files(), &KEY).unwrap();
    let verified = verify(&good, &files(), &trusted()).unwrap();
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 7);
        // Some bytes say nothing, such as the name of a list that is empty.
        if let Ok(found) = verify(&bytes, &files(), &trusted()) {
            assert_eq!(found, verified, "byte {place}");
            assert_eq!(open(&bytes, &trusted()).unwrap(), open(&good, &trusted()).unwrap());
        }
    }
}

fn trees() -> impl Strategy<Value = Vec<Resource>> {
    let digest = proptest::array::uniform32(any::<u8>()).prop_map(hex::encode);
    proptest::collection::btree_map("[a-c][a-c.+=@_-]{0,2}(/[a-c.-]{0,2}[a-c])?", digest, 1..12)
        .prop_map(|map| map.into_iter().map(|(name, sha256)| Resource { name, sha256 }).collect())
}

const WORDS: [&str; 8] =
    ["mediaType", MEDIA_TYPE, "dsseEnvelope", "verificationMaterial", "publicKey", "payload", "e30=", "sig"];

/// JSON that looks like a bundle or a statement from afar.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&WORDS).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(&WORDS), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(tree in trees(), name in "[a-zé .]{1,20}") {
        let files = statement::sorted(&tree).unwrap();
        let written = Statement::new(&name, &files).unwrap();
        let payload = written.to_bytes().unwrap();
        let (opened, key) = open(&seal(&payload, &KEY).unwrap(), &trusted()).map(|(p, k)| (p, k.clone())).unwrap();
        prop_assert_eq!((&opened, &key), (&payload, KEY.public()));
        let read = Statement::read(&opened).unwrap();
        prop_assert_eq!(&read, &written);
        let (signed, told, _) = read.into_parts().unwrap();
        prop_assert_eq!((signed, told), (files, name));
    }

    #[test]
    fn only_the_same_files_verify(tree in trees(), other in trees()) {
        let bytes = sign("m", &tree, &KEY).unwrap();
        prop_assert!(verify(&bytes, &tree, &trusted()).is_ok());
        prop_assert_eq!(verify(&bytes, &other, &trusted()).is_ok(), tree == other);
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), value in values()) {
        let text = value.to_string();
        for bytes in [&bytes[..], text.as_bytes()] {
            prop_assert!(verify(bytes, &files(), &trusted()).is_err());
            prop_assert!(verify_signed(bytes).is_err());
        }
        for text in [String::from_utf8_lossy(&bytes).into_owned(), format!("-----BEGIN PRIVATE KEY-----\n{text}")] {
            prop_assert!(PrivateKey::from_pem(&text).is_err());
            prop_assert!(PublicKey::from_pem(&text).is_err());
        }
        prop_assert!(PublicKey::from_raw(&bytes).is_err());
    }
}
