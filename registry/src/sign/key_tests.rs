//! Tests of the keys. The keys below were made with OpenSSL 3.0 for these tests and protect nothing.
//! Their frames are put on here, so that no tool takes them for lost secrets.

use super::*;

const P256_SEC1: &str = "MHcCAQEEIBS718BEZLYvdiCRBorSodjpBu+BpZ1nyWdGi9giFJSToAoGCCqGSM49
AwEHoUQDQgAEdZ4aob1td6UOiz/kT/KdjbtLCibasyBuv3VGK8mumxS1pasuAgnO
yvj7ZhA8GK8dVtFCZ8ONY8hg0rmBe6VEpA==";
const P256_PKCS8: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFLvXwERkti92IJEG
itKh2OkG74GlnWfJZ0aL2CIUlJOhRANCAAR1nhqhvW13pQ6LP+RP8p2Nu0sKJtqz
IG6/dUYrya6bFLWlqy4CCc7K+PtmEDwYrx1W0UJnw41jyGDSuYF7pUSk";
const P256_SPKI: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdZ4aob1td6UOiz/kT/KdjbtLCiba
syBuv3VGK8mumxS1pasuAgnOyvj7ZhA8GK8dVtFCZ8ONY8hg0rmBe6VEpA==";
/// `sha256sum` of the file that `openssl ec -pubout` wrote.
const P256_HINT: &str = "571a98fd0feb12ff11c2b07b3950b9af374eb9f08e33ec68afdc41dfbb30d18b";
const ED25519_PKCS8: &str = "MC4CAQAwBQYDK2VwBCIEIL/dfid2yOTeZOGNnrnLOkaS4+a4XvIALYgvWQDsW5eF";
const ED25519_SPKI: &str = "MCowBQYDK2VwAyEAf1mTLINOUfLaRO4np0DA3vhzA7eZ65bWr3Ek6woUVTs=";
const P384_SEC1: &str = "MIGkAgEBBDB6/emeCB03ezvml3QUqCCPQ2/9ilShxmyehH25tft7QFs2VjInHwEg
tTLV1I4/fZGgBwYFK4EEACKhZANiAAQUJee9MMFUYTaaqkHVYOnrl70ch0sgvwXV
H9nGTjTYMwnohD+QM6BVsuvvgRQ+5HnEVkLZ/HMgUCAB4FcP7zrbjcRHQzQnahgn
GdtrrLsLpiL9hC8TXjQSLi6cT4qgrgM=";
const P384_SPKI: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEfzMhwgfJGfR7Jn1w3UQ65ZxHnkusfVGg
UFutlNBCgy5IY6op5uwYfoFXuH2uaTDthf+IoW+2e9rc+WT0EZitknPIRaezApbq
GzImQt0c5OYyrjdXodTpw8HLu16lyJ7J";
const RSA_SPKI: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDFZFTzrBmkGaqXteXLoXr0oY1J
hVi6xK0vPjVhA+9mQgYBNaJ2KOiAiHk681xH5dUeeDsslN1QA+Cirs1nPCmhQLZZ
eJ3BCxgT6aK2bAfNnvCG9ymUPcscTn9ZuqIQKIWAHvaYix24BV1kuRYsqlpRMl31
iDq7oBeIoyp/Zw3+fQIDAQAB";
const ENCRYPTED_SEC1: &str = "Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,B49BF9E5C7EFDD62A907FC7DAF27B840

kmyN32Kz3QlnyvQ1+toacP1jf7LkvIs5qcMuEDnSnYNzdfLjRJ2xUb5dHoyHwnxP
ELk2qNqL1Vs9vnKzVOf3auZE3BZyy5HZjXIuNRXeCy6FXAGj4dl8ENSBwRyv2yLZ
M4HsA7hzfl08dXqZarFGUF+3ifIdqXfvF/K4+bwopWM=";

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn sec1() -> String {
    pem("EC PRIVATE KEY", P256_SEC1)
}

#[test]
fn both_forms_of_a_private_key_are_read_and_one_is_written() {
    let pkcs8 = pem("PRIVATE KEY", P256_PKCS8);
    let with_curve = format!("{}{}", pem("EC PARAMETERS", "BggqhkjOPQMBBw=="), sec1());
    for text in [&sec1(), &pkcs8, &with_curve, &pkcs8.replace('\n', "\r\n"), &format!("# mine\n\n{pkcs8}\n\n")] {
        let key = PrivateKey::from_pem(text).unwrap();
        assert_eq!(*key.to_pem().unwrap(), pkcs8);
        assert_eq!(key.public().hint(), P256_HINT);
    }
    let (one, two) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    assert_ne!(one.public(), two.public());
    assert_eq!(PrivateKey::from_pem(&one.to_pem().unwrap()).unwrap().public(), one.public());
}

#[test]
fn the_hint_does_not_depend_on_how_the_file_ends_its_lines() {
    let plain = pem("PUBLIC KEY", P256_SPKI);
    for text in [&plain, &plain.replace('\n', "\r\n"), plain.trim_end(), &format!("Public Key:\n\tP-256\n{plain}\n\n")]
    {
        let key = PublicKey::from_pem(text).unwrap();
        assert_eq!(key.hint(), P256_HINT);
        assert_eq!(key.to_pem(), plain);
        assert_eq!(PublicKey::from_raw(text.as_bytes()).unwrap(), key);
    }
    let der = STANDARD.decode(P256_SPKI.replace('\n', "")).unwrap();
    assert_eq!(PublicKey::from_raw(&der).unwrap().hint(), P256_HINT);
}

#[test]
fn what_cannot_sign_is_named() {
    let cases = [
        (pem("ENCRYPTED PRIVATE KEY", "AAAA"), "is encrypted"),
        (pem("EC PRIVATE KEY", ENCRYPTED_SEC1), "is encrypted"),
        (pem("PRIVATE KEY", ED25519_PKCS8), "is an Ed25519 key"),
        (pem("EC PRIVATE KEY", P384_SEC1), "is a P-384 key"),
        (pem("RSA PRIVATE KEY", "AAAA"), "is an RSA key"),
        (pem("OPENSSH PRIVATE KEY", "AAAA"), "is an OpenSSH key"),
        (pem("PUBLIC KEY", P256_SPKI), "is a public key"),
        (pem("CERTIFICATE", "AAAA"), "holds `CERTIFICATE`"),
        (pem("PRIVATE KEY", &P256_PKCS8.replace("FLvX", "FLv!")), "is damaged"),
        (pem("EC PRIVATE KEY", &P256_SEC1[..64]), "is damaged"),
        (sec1() + &sec1(), "more than one"),
        (sec1().replace("-----END", "----END"), "is no PEM"),
        ("garbage".to_owned(), "is no PEM"),
        (String::new(), "is no PEM"),
        ("x".repeat(PEM_MAX + 1), "at most 16384"),
    ];
    for (text, expected) in cases {
        let message = PrivateKey::from_pem(&text).unwrap_err().to_string();
        assert!(message.starts_with("private key: ") && message.contains(expected), "{expected}: {message}");
        for line in text.lines().filter(|line| line.len() > 20 && !line.starts_with("-----")) {
            assert!(!message.contains(line), "a message shows the key: {message}");
        }
    }
}

#[test]
fn what_cannot_check_is_named() {
    let cases = [
        (sec1(), "is a private key"),
        (pem("PUBLIC KEY", ED25519_SPKI), "is an Ed25519 key"),
        (pem("PUBLIC KEY", P384_SPKI), "is a P-384 key"),
        (pem("PUBLIC KEY", RSA_SPKI), "is an RSA key"),
        // A byte of the point changed: it is no longer on the curve.
        (pem("PUBLIC KEY", &P256_SPKI.replace("dZ4a", "dZ4b")), "is damaged"),
        ("garbage".to_owned(), "is no PEM"),
    ];
    for (text, expected) in cases {
        let message = PublicKey::from_pem(&text).unwrap_err().to_string();
        assert!(message.starts_with("public key: ") && message.contains(expected), "{expected}: {message}");
    }
    assert!(PublicKey::from_raw(&STANDARD.decode(ED25519_SPKI).unwrap()).is_err());
    assert!(PublicKey::from_raw(b"").is_err());
}

#[test]
fn a_secret_is_not_shown() {
    let key = PrivateKey::from_pem(&sec1()).unwrap();
    assert_eq!(format!("{key:?}"), format!("PrivateKey {{ public: \"{P256_HINT}\", .. }}"));
    assert_eq!(format!("{:?}", key.public()), format!("PublicKey(\"{P256_HINT}\")"));
}

#[test]
fn signatures_are_those_of_the_rfc_and_of_openssl() {
    // RFC 6979, A.2.5, P-256 with SHA-256, message "sample".
    let scalar = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
    let key = PrivateKey::new(SecretKey::from_slice(&scalar).unwrap()).unwrap();
    let signature = key.sign(b"sample").unwrap();
    let expected = "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                    022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    assert_eq!(hex::encode(&signature), expected);
    assert!(key.public().signed(b"sample", &signature));
    assert!(!key.public().signed(b"Sample", &signature));
    for cut in 0..signature.len() {
        assert!(!key.public().signed(b"sample", &signature[..cut]));
    }
    // Longer than the DER says, and a signature of another curve's length.
    assert!(!key.public().signed(b"sample", &[&signature[..], &[0]].concat()));
    assert!(!key.public().signed(b"sample", &[0x30; 104]));
}
