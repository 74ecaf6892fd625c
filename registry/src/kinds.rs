//! Which files may become part of a version. Kinds that hold data enter by name; others must be
//! declared by whoever registers; pickles, which run code when loaded, are refused by content,
//! whatever they are called. It looks at bytes that pass by; it opens no files.

use std::collections::BTreeSet;

/// Extensions of files that hold data and nothing that runs.
const KNOWN: [&str; 12] =
    ["arrow", "csv", "json", "jsonl", "md", "onnx", "parquet", "safetensors", "toml", "txt", "yaml", "yml"];
const PICKLE_MEMBER: &[u8] = b"data.pkl";
/// The length of a safetensors header stands in the first eight bytes, and `{` follows.
const HEAD: usize = 9;

/// Why a file with this path may not enter, going by its name alone.
pub(crate) fn undeclared(path: &str, declared: &BTreeSet<String>) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    if KNOWN.contains(&extension.as_str()) || declared.contains(&extension) {
        return None;
    }
    let known = KNOWN.join(", ");
    Some(format!("is of an undeclared kind (`.{extension}`); known kinds are {known}; declare others when registering"))
}

/// Looks at the bytes of one file, which come in chunks.
#[derive(Default)]
pub(crate) struct Content {
    head: Vec<u8>,
    tail: Vec<u8>,
    bytes: u64,
    pickle: bool,
}

impl Content {
    /// Takes the next chunk.
    pub fn see(&mut self, chunk: &[u8]) {
        self.head.extend(chunk.iter().take(HEAD - self.head.len()));
        self.bytes += chunk.len() as u64;
        self.pickle |= is_pickle(&self.head);
        if !self.head.starts_with(b"PK\x03\x04") {
            return;
        }
        // The member's name may lie across two chunks.
        self.tail.extend_from_slice(chunk);
        self.pickle |= self.tail.windows(PICKLE_MEMBER.len()).any(|part| part == PICKLE_MEMBER);
        self.tail.drain(..self.tail.len().saturating_sub(PICKLE_MEMBER.len() - 1));
    }

    /// Why the file may not enter, going by what was seen of it.
    pub fn refused(&self, path: &str) -> Option<&'static str> {
        if self.pickle {
            return Some("is a pickle, which runs code when loaded; save it as safetensors");
        }
        if path.ends_with(".safetensors") && !self.is_safetensors() {
            return Some("is called safetensors and is none");
        }
        None
    }

    /// The safetensors format: a header's length (8 bytes, little-endian), the header as JSON, data.
    fn is_safetensors(&self) -> bool {
        match self.head.split_first_chunk::<8>() {
            Some((length, [b'{'])) => u64::from_le_bytes(*length).checked_add(8).is_some_and(|end| end <= self.bytes),
            _ => false,
        }
    }
}

/// `PROTO 2` to `PROTO 5` and then an opcode. The opcode matters: a safetensors file whose header
/// has 640 bytes starts with `80 02 00`, and no opcode is below `(` (0x28).
fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 0x02..=0x05, opcode, ..] if *opcode >= 0x28)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, chunks: &[&[u8]]) -> bool {
        let mut content = Content::default();
        chunks.iter().for_each(|chunk| content.see(chunk));
        content.refused(path).is_some()
    }

    #[test]
    fn pickles_are_refused_by_content() {
        let zip = [b"PK\x03\x04".as_slice(), &[0; 26], b"archive/data.pkl", &[1; 9]].concat();
        let bad: [&[u8]; 4] = [b"\x80\x02}q\0.", b"\x80\x04\x95\x05", b"\x80\x05K\x01.", &zip];
        for bytes in bad {
            assert!(refused("w.json", &[bytes]), "{bytes:?}");
            let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
            assert!(refused("w.json", &one_by_one), "a name across chunks");
        }
        for good in [&b"PK\x03\x04 a plain zip"[..], b"\x80", b"\x80\x02", b"data.pkl"] {
            assert!(!refused("w.json", &[good]));
        }
    }

    #[test]
    fn safetensors_must_be_some() {
        let file = |length: u64, rest: &[u8]| [&length.to_le_bytes()[..], rest].concat();
        assert!(!refused("w.safetensors", &[&file(2, b"{}")]));
        assert!(!refused("w.safetensors", &[&file(640, &[b"{".as_slice(), &[b' '; 639]].concat())]), "80 02 00");
        for bad in [file(3, b"{}"), file(u64::MAX, b"{}"), file(2, b"[]"), file(2, b""), vec![]] {
            assert!(refused("w.safetensors", &[&bad]), "{bad:?}");
        }
    }

    #[test]
    fn kinds_are_declared() {
        let declared = BTreeSet::from(["pt2".to_owned()]);
        for good in ["a.json", "deep/W.SAFETENSORS", "x.pt2"] {
            assert_eq!(undeclared(good, &declared), None);
        }
        for bad in ["w.bin", "x", "a.json/x.sh", "pt2", "model.pkl"] {
            assert!(undeclared(bad, &declared).is_some(), "{bad}");
        }
    }
}
