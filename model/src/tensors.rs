//! `weights.safetensors`: writing with the same bytes each time, reading straight into the arrays that serve.
//!
//! What it does not do: it knows no family. Values are not judged (NaN is read as it is); shapes are.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::bundle::{SEGMENTS_FILE, WEIGHTS_FILE};
use crate::canonical;
use crate::error::Error;
use crate::vocabulary::Vocabulary;

/// Longest header that is read. Ours have a few hundred bytes.
const HEADER_MAX: u64 = 1 << 20;
/// Most bytes of the file.
const FILE_MAX: u64 = 64 << 30;
/// Values converted at a time, so that a large tensor is in memory once.
const CHUNK: usize = 16 * 1024;

/// A tensor to be written.
pub(crate) struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    values: Values<'a>,
}

enum Values<'a> {
    F32(&'a [f32]),
    I64(i64),
}

impl<'a> Tensor<'a> {
    pub(crate) fn f32(name: impl Into<String>, shape: Vec<usize>, values: &'a [f32]) -> Self {
        Self { name: name.into(), shape, values: Values::F32(values) }
    }

    /// A single whole number, shape `[1]`.
    pub(crate) fn i64(name: impl Into<String>, value: i64) -> Self {
        Self { name: name.into(), shape: vec![1], values: Values::I64(value) }
    }

    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::I64(_) => Dtype::I64,
        }
    }

    fn bytes(&self) -> usize {
        match self.values {
            Values::F32(values) => values.len() * 4,
            Values::I64(_) => 8,
        }
    }
}

/// Writes the segments of a family that knows some.
pub(crate) fn write_segments(dir: &Path, segments: &Vocabulary) -> Result<(), Error> {
    let text = canonical::pretty(segments).map_err(Error::json(SEGMENTS_FILE))?;
    let path = dir.join(SEGMENTS_FILE);
    std::fs::write(&path, text).map_err(Error::io(&path))
}

/// Writes `weights.safetensors` into `dir`: by falling alignment, then by name, as the format asks.
pub(crate) fn write(dir: &Path, tensors: &[Tensor<'_>]) -> Result<(), Error> {
    let mut tensors: Vec<&Tensor<'_>> = tensors.iter().collect();
    tensors.sort_by(|a, b| b.dtype().cmp(&a.dtype()).then_with(|| a.name.cmp(&b.name)));
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let from = end;
        end += tensor.bytes();
        let info = TensorInfo { dtype: tensor.dtype(), shape: tensor.shape.clone(), data_offsets: (from, end) };
        (tensor.name.clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(|e| weights(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(Error::json(WEIGHTS_FILE))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let path = dir.join(WEIGHTS_FILE);
    write_all(&path, &header, &tensors).map_err(Error::io(&path))
}

fn write_all(path: &Path, header: &[u8], tensors: &[&Tensor<'_>]) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header)?;
    for tensor in tensors {
        match tensor.values {
            Values::I64(value) => file.write_all(&value.to_le_bytes())?,
            Values::F32(values) => {
                for value in values {
                    file.write_all(&value.to_le_bytes())?;
                }
            }
        }
    }
    file.flush()
}

/// A tensor that was read.
pub(crate) struct Loaded<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: T,
}

/// An open `weights.safetensors`.
pub(crate) struct TensorFile {
    file: File,
    metadata: Metadata,
    data_from: u64,
}

impl TensorFile {
    /// Reads the header and holds the file's length against it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(WEIGHTS_FILE);
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        if length > FILE_MAX {
            return Err(Error::TooLarge { file: WEIGHTS_FILE.to_owned(), bytes: length, limit: FILE_MAX });
        }
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|_| weights("it has no header".to_owned()))?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > HEADER_MAX || header_length + 8 > length {
            let what = format!("its header claims {header_length} bytes; the file has {length} and 1 MiB is allowed");
            return Err(weights(what));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(Error::io(&path))?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(Error::json(WEIGHTS_FILE))?;
        let data_from = header_length + 8;
        let expected = data_from.checked_add(metadata.data_len() as u64);
        if expected != Some(length) {
            let what =
                format!("its tensors end at byte {expected:?} and the file at {length}; it was cut or appended to");
            return Err(weights(what));
        }
        Ok(Self { file, metadata, data_from })
    }

    /// The tensor's shape, when there is such a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// An f32 tensor whose dimensions are as `expected` says (`None`: any).
    pub(crate) fn f32(&mut self, name: &str, expected: &[Option<usize>]) -> Result<Loaded<Vec<f32>>, Error> {
        let (from, shape) = self.locate(name, Dtype::F32, expected)?;
        let mut values = vec![0.0; shape.iter().product()];
        self.fill(name, from, &mut values)?;
        Ok(Loaded { shape, values })
    }

    /// As [`f32`](Self::f32), read straight into an array that can be shared: a large tensor is in memory once.
    pub(crate) fn shared_f32(&mut self, name: &str, expected: &[Option<usize>]) -> Result<Loaded<Arc<[f32]>>, Error> {
        let (from, shape) = self.locate(name, Dtype::F32, expected)?;
        let count: usize = shape.iter().product();
        let mut values: Arc<[f32]> = (0..count).map(|_| 0.0).collect();
        let target = Arc::get_mut(&mut values).expect("nobody else holds it yet");
        self.fill(name, from, target)?;
        Ok(Loaded { shape, values })
    }

    fn fill(&mut self, name: &str, from: u64, target: &mut [f32]) -> Result<(), Error> {
        let read = |e: std::io::Error| weights(format!("tensor `{name}` cannot be read: {e}"));
        let mut buffer = vec![0; 4 * CHUNK.min(target.len())];
        self.file.seek(SeekFrom::Start(from)).map_err(read)?;
        for part in target.chunks_mut(CHUNK) {
            let bytes = &mut buffer[..part.len() * 4];
            self.file.read_exact(bytes).map_err(read)?;
            let (words, _) = bytes.as_chunks::<4>();
            for (value, word) in part.iter_mut().zip(words) {
                *value = f32::from_le_bytes(*word);
            }
        }
        Ok(())
    }

    /// An i64 tensor of shape `[1]`.
    pub(crate) fn i64(&mut self, name: &str) -> Result<i64, Error> {
        let (from, _) = self.locate(name, Dtype::I64, &[Some(1)])?;
        let read = |e: std::io::Error| weights(format!("tensor `{name}` cannot be read: {e}"));
        let mut bytes = [0; 8];
        self.file.seek(SeekFrom::Start(from)).map_err(read)?;
        self.file.read_exact(&mut bytes).map_err(read)?;
        Ok(i64::from_le_bytes(bytes))
    }

    fn locate(&self, name: &str, dtype: Dtype, expected: &[Option<usize>]) -> Result<(u64, Vec<usize>), Error> {
        let Some(info) = self.metadata.info(name) else {
            return Err(weights(format!("tensor `{name}` is missing")));
        };
        if info.dtype != dtype {
            return Err(weights(format!("tensor `{name}` is {:?} where {dtype:?} is expected", info.dtype)));
        }
        let fits = info.shape.len() == expected.len()
            && info.shape.iter().zip(expected).all(|(&n, want)| want.is_none_or(|want| n == want));
        if !fits {
            let expected: Vec<String> =
                expected.iter().map(|n| n.map_or("any".to_owned(), |n| n.to_string())).collect();
            return Err(weights(format!(
                "tensor `{name}` has shape {:?} where [{}] is expected",
                info.shape,
                expected.join(", ")
            )));
        }
        Ok((self.data_from + info.data_offsets.0 as u64, info.shape.clone()))
    }
}

fn weights(what: String) -> Error {
    Error::Weights { what }
}
