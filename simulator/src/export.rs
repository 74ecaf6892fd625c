//! Sales as JSON-lines files that a trainer reads while more are written: whole files only, never a half one.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Transaction};

/// Most rows of one file.
pub const ROWS_PER_PART: usize = 20_000;
/// Rows kept while the directory cannot be written; older ones are lost beyond it, and counted.
const BUFFERED_MAX: usize = 200_000;

/// Writes transactions to `part-<n>.jsonl` in one directory. One writer a directory.
#[derive(Debug)]
pub struct TransactionWriter {
    directory: PathBuf,
    next: u64,
    buffer: VecDeque<Transaction>,
    buffered_max: usize,
    written: u64,
    lost: u64,
}

impl TransactionWriter {
    /// Opens (and creates) `directory`; numbers go on after the files that are there.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        let failed = |source| Error::Write { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut next = 1;
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            next = next.max(name.to_str().and_then(part_number).map_or(0, |number| number + 1));
        }
        Ok(Self { directory, next, buffer: VecDeque::new(), buffered_max: BUFFERED_MAX, written: 0, lost: 0 })
    }

    /// Takes a row into the buffer. Nothing is written before [`Self::flush`].
    pub fn push(&mut self, row: Transaction) {
        if self.buffer.len() >= self.buffered_max {
            self.buffer.pop_front();
            self.lost += 1;
        }
        self.buffer.push_back(row);
    }

    /// Writes what is buffered, as new files of at most [`ROWS_PER_PART`] rows. What could not be written stays
    /// buffered for the next call.
    pub fn flush(&mut self) -> Result<(), Error> {
        while !self.buffer.is_empty() {
            let rows = self.buffer.len().min(ROWS_PER_PART);
            let path = self.directory.join(format!("part-{}.jsonl", self.next));
            // Readers of a directory skip names that begin with a dot.
            let partial = self.directory.join(format!(".part-{}.tmp", self.next));
            write_rows(&partial, self.buffer.iter().take(rows))
                .and_then(|()| fs::rename(&partial, &path))
                .map_err(|source| Error::Write { path, source })?;
            self.buffer.drain(..rows);
            self.next += 1;
            self.written += rows as u64;
        }
        Ok(())
    }

    /// Writes `rows` at once.
    pub fn append(&mut self, rows: impl IntoIterator<Item = Transaction>) -> Result<(), Error> {
        for row in rows {
            self.push(row);
            if self.buffer.len() >= ROWS_PER_PART {
                self.flush()?;
            }
        }
        self.flush()
    }

    /// Rows waiting to be written.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Rows written by this writer.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Rows given up because the directory could not be written for too long.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn write_rows<'a>(path: &Path, rows: impl Iterator<Item = &'a Transaction>) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for row in rows {
        serde_json::to_writer(&mut file, row)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()
}

fn part_number(name: &str) -> Option<u64> {
    name.strip_prefix("part-")?.strip_suffix(".jsonl")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32) -> Transaction {
        Transaction {
            time: "2030-01-01T00:00:00Z".parse().unwrap(),
            user: format!("u{number}"),
            item: "i00001".to_owned(),
            quantity: 1,
            segment: "Spain".to_owned(),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_lines_that_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = TransactionWriter::open(directory.path().join("sales")).unwrap();
        writer.append([row(1), row(2)]).unwrap();
        let text = fs::read_to_string(directory.path().join("sales/part-1.jsonl")).unwrap();
        let first = r#"{"time":"2030-01-01T00:00:00Z","user":"u1","item":"i00001","quantity":1,"segment":"Spain"}"#;
        assert_eq!(text.lines().next().unwrap(), first);
        let rows: Vec<Transaction> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows, [row(1), row(2)]);
        assert_eq!((writer.written(), writer.buffered(), writer.lost()), (2, 0, 0));
    }

    #[test]
    fn goes_on_after_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        TransactionWriter::open(directory.path()).unwrap().append([row(1)]).unwrap();
        fs::write(directory.path().join("part-x.jsonl"), "").unwrap();
        fs::write(directory.path().join("part-41.jsonl"), "").unwrap();
        let mut writer = TransactionWriter::open(directory.path()).unwrap();
        writer.append([row(2)]).unwrap();
        writer.flush().unwrap();
        assert_eq!(names(directory.path()), ["part-1.jsonl", "part-41.jsonl", "part-42.jsonl", "part-x.jsonl"]);
    }

    #[test]
    fn splits_large_batches() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = TransactionWriter::open(directory.path()).unwrap();
        writer.append((0..ROWS_PER_PART as u32 + 5).map(row)).unwrap();
        let rest = fs::read_to_string(directory.path().join("part-2.jsonl")).unwrap();
        assert_eq!(rest.lines().count(), 5);
    }

    #[test]
    fn keeps_rows_while_it_cannot_write_and_loses_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let sales = directory.path().join("sales");
        let mut writer = TransactionWriter::open(&sales).unwrap();
        writer.buffered_max = 3;
        fs::remove_dir(&sales).unwrap();
        (1..=4).for_each(|number| writer.push(row(number)));
        let said = writer.flush().unwrap_err().to_string();
        assert!(said.contains("part-1.jsonl"), "{said}");
        fs::create_dir(&sales).unwrap();
        writer.flush().unwrap();
        assert_eq!((writer.written(), writer.lost()), (3, 1));
        assert_eq!(names(&sales), ["part-1.jsonl"]);
    }
}
