//! Tar, as far as layouts and layers need it: headers with fixed times and owners, and a reader
//! that allocates little however the archive lies. It unpacks nothing.
//!
//! Where readers of tar disagree (a link with content, a sparse file, a path for all entries) the
//! archive is refused, so that nothing here can be read in two ways.

use super::document::plain;
use crate::{Error, Result};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use tar::{EntryType, Header};

pub(super) const BLOCK: usize = 512;
/// What ends an archive.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
const NAME_MAX: usize = 100;
/// The most bytes of a long name or of extended attributes.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// The header of a plain file of this size, or of a folder if the path ends in `/`. Time and owner
/// are zero. A path of more than 100 bytes goes before it, in the manner of GNU.
pub(super) fn header(path: &str, bytes: u64) -> Vec<u8> {
    let mut all = Vec::new();
    if path.len() > NAME_MAX {
        all.extend(one(b"././@LongLink", EntryType::GNULongName, path.len() as u64 + 1));
        all.extend(path.as_bytes());
        all.push(0);
        all.resize(all.len() + padding(path.len() as u64 + 1), 0);
    }
    let kind = if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
    all.extend(one(&path.as_bytes()[..path.len().min(NAME_MAX)], kind, bytes));
    all
}

fn one(name: &[u8], kind: EntryType, bytes: u64) -> [u8; BLOCK] {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header.set_cksum();
    *header.as_bytes()
}

/// How many bytes follow content of this size, to the next full block.
pub(super) fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A link, a device, …
    Other(&'static str),
}

/// One entry of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it stands in the archive.
    pub path: String,
    pub kind: Kind,
    pub bytes: u64,
    /// Where its content starts in the archive.
    pub position: u64,
}

/// How content that nobody wants is passed over.
type Skip<R> = fn(&mut R, u64) -> io::Result<u64>;

/// The entries of an archive, one after the other.
pub(super) struct Entries<'a, R> {
    source: &'a mut R,
    skip: Skip<R>,
    /// The archive, for messages.
    name: String,
    position: u64,
    left: u64,
    padding: usize,
    headers: usize,
}

/// What goes before an entry and changes it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    bytes: Option<u64>,
}

impl<'a, R: Read> Entries<'a, R> {
    /// The entries of a stream that has at most so many headers.
    pub fn reading(source: &'a mut R, name: &str, headers: usize) -> Entries<'a, R> {
        let skip = |source: &mut R, count| io::copy(&mut source.take(count), &mut io::sink());
        Entries { source, skip, name: name.to_owned(), position: 0, left: 0, padding: 0, headers }
    }

    /// The next entry; what is left of the one before is passed over.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let bytes = header.entry_size().map_err(|e| self.bad(&e.to_string()))?;
            (self.left, self.padding) = (bytes, padding(bytes));
            match header.entry_type().as_byte() {
                b'L' => extension.path = Some(self.extension(bytes)?),
                b'x' => pax(&self.extension(bytes)?, &mut extension).map_err(|reason| self.bad(reason))?,
                b'g' => {
                    let mut global = Extension::default();
                    pax(&self.extension(bytes)?, &mut global).map_err(|reason| self.bad(reason))?;
                    if global.path.is_some() || global.bytes.is_some() {
                        return Err(self.bad("gives all entries one path or one size"));
                    }
                }
                b'K' => drop(self.extension(bytes)?),
                kind => return self.entry(&header, kind, extension).map(Some),
            }
        }
    }

    /// Reads on in the content of the entry; 0 at its end.
    pub fn read(&mut self, chunk: &mut [u8]) -> Result<usize> {
        let most = chunk.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.source.read(&mut chunk[..most]).map_err(Error::io(Path::new(&self.name)))?;
        if count == 0 && most > 0 {
            return Err(self.bad("ends within a file"));
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }

    fn entry(&mut self, header: &Header, kind: u8, extension: Extension) -> Result<Entry> {
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = String::from_utf8(path).map_err(|_| self.bad("has a path that is not UTF-8"))?;
        let bytes = extension.bytes.unwrap_or(self.left);
        (self.left, self.padding) = (bytes, padding(bytes));
        let kind = match kind {
            b'0' | 0 | b'7' if path.ends_with('/') => Kind::Folder,
            b'0' | 0 | b'7' => Kind::File,
            b'5' => Kind::Folder,
            b'1' => Kind::Other("a hard link"),
            b'2' => Kind::Other("a link"),
            b'3' | b'4' => Kind::Other("a device"),
            b'6' => Kind::Other("a pipe"),
            _ => return Err(self.bad(&format!("`{}` is of an unknown or sparse kind", plain(&path)))),
        };
        if kind != Kind::File && bytes > 0 {
            return Err(self.bad(&format!("`{}` is no file and has content", plain(&path))));
        }
        Ok(Entry { path, kind, bytes, position: self.position })
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let skipped = self.left.checked_add(self.padding as u64).ok_or_else(|| self.bad("has an impossible size"))?;
        let done = (self.skip)(self.source, skipped).map_err(Error::io(Path::new(&self.name)))?;
        self.position = self.position.checked_add(skipped).ok_or_else(|| self.bad("has an impossible size"))?;
        if done != skipped {
            return Err(self.bad("ends within a file"));
        }
        (self.left, self.padding) = (0, 0);
        let mut header = Header::new_old();
        match self.block(header.as_mut_bytes())? {
            0 => return Ok(None),
            BLOCK => self.position += BLOCK as u64,
            _ => return Err(self.bad("ends within a header; is it a tar?")),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The sum counts its own eight bytes as blanks.
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(self.bad("has a header whose checksum is wrong; is it a tar?"));
        }
        self.headers = self.headers.checked_sub(1).ok_or_else(|| self.bad("has too many entries"))?;
        Ok(Some(header))
    }

    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]).map_err(Error::io(Path::new(&self.name)))? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn extension(&mut self, bytes: u64) -> Result<Vec<u8>> {
        if bytes > EXTENSION_BYTES_MAX {
            return Err(self.bad(&format!("has a name or attributes of more than {EXTENSION_BYTES_MAX} bytes")));
        }
        let mut all = vec![0; bytes as usize];
        let mut filled = 0;
        while filled < all.len() {
            filled += self.read(&mut all[filled..])?;
        }
        // GNU ends a name with a zero; extended attributes end with a new line.
        while all.last() == Some(&0) {
            all.pop();
        }
        Ok(all)
    }

    fn bad(&self, reason: &str) -> Error {
        Error::corrupt(&self.name, reason)
    }
}

impl<'a, R: Read + Seek> Entries<'a, R> {
    /// The entries of a file that has at most so many headers; content is not read.
    pub fn seeking(source: &'a mut R, name: &str, headers: usize) -> Entries<'a, R> {
        let skip = |source: &mut R, count: u64| {
            let distance = i64::try_from(count).map_err(io::Error::other)?;
            source.seek(SeekFrom::Current(distance)).map(|_| count)
        };
        Entries { source, skip, name: name.to_owned(), position: 0, left: 0, padding: 0, headers }
    }
}

/// Reads extended attributes: `length key=value\n`, where the length counts the whole record.
/// POSIX.1-2017, pax, "pax Extended Header".
fn pax(mut records: &[u8], extension: &mut Extension) -> std::result::Result<(), &'static str> {
    const BAD: &str = "has extended attributes that cannot be read";
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
    while !records.is_empty() {
        let blank = records.iter().take(20).position(|byte| *byte == b' ').ok_or(BAD)?;
        let length = number(&records[..blank]).and_then(|length| usize::try_from(length).ok()).ok_or(BAD)?;
        let record = records.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or(BAD)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => extension.path = Some(value.to_vec()),
            b"size" => extension.bytes = Some(number(value).ok_or(BAD)?),
            _ if key.starts_with(b"GNU.sparse") => return Err("holds a sparse file"),
            _ => {}
        }
        records = &records[length..];
    }
    Ok(())
}
