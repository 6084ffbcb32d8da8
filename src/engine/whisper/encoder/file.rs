//! The encoder's numbers in a file of whisper.cpp's own format.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use half::f16;

/// What the file begins with ("ggml", lowest byte last).
const MAGIC: u32 = 0x6767_6d6c;

/// The kind of file whose matrices are 16-bit floats and whose other numbers are 32-bit ones.
const HALF: usize = 1;

/// What a file says of its encoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Positions of the full window.
    pub window: usize,
    /// Numbers of a position.
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
    /// Bands of the spectrogram.
    pub bands: usize,
}

/// The encoder's tensors by their names.
pub(super) struct Tensors {
    halves: HashMap<String, Vec<f16>>,
    floats: HashMap<String, Vec<f32>>,
}

impl Tensors {
    /// Reads the file at `path`; nothing when its matrices are no 16-bit floats.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn read(path: &Path) -> io::Result<Option<(Shape, Self)>> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        if number(&mut file)? != MAGIC as usize {
            return Err(invalid("its beginning is that of another format"));
        }
        let mut head = [0; 11];
        for entry in &mut head {
            *entry = number(&mut file)?;
        }
        // In the order of whisper.cpp's `whisper_hparams`; what is not named is the decoder's.
        let [_, window, width, heads, layers, _, _, _, _, bands, kind] = head;
        if kind != HALF {
            return Ok(None);
        }
        let (rows, columns) = (number(&mut file)?, number(&mut file)?);
        skip(&mut file, rows.saturating_mul(columns).saturating_mul(size_of::<f32>()))?;
        for _ in 0..number(&mut file)? {
            let length = number(&mut file)?;
            skip(&mut file, length)?;
        }
        let mut tensors = Self { halves: HashMap::new(), floats: HashMap::new() };
        while file.stream_position()? < end {
            tensors.add(&mut file, end)?;
        }
        Ok(Some((Shape { window, width, heads, layers, bands }, tensors)))
    }

    /// Takes over the next tensor, if it is one of the encoder's.
    fn add(&mut self, file: &mut BufReader<File>, end: u64) -> io::Result<()> {
        let (dimensions, length, kind) = (number(file)?, number(file)?, number(file)?);
        let mut count: usize = 1;
        for _ in 0..dimensions {
            count = count.saturating_mul(number(file)?);
        }
        if length > 1024 {
            return Err(invalid("the name of a tensor is too long"));
        }
        let mut name = vec![0; length];
        file.read_exact(&mut name)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let bytes = match kind {
            0 => count.saturating_mul(size_of::<f32>()),
            1 => count.saturating_mul(size_of::<f16>()),
            _ => return Err(invalid(&format!("the type of {name} is not one of such a file"))),
        };
        if bytes as u64 > end {
            return Err(invalid(&format!("{name} is larger than the file")));
        }
        if !name.starts_with("encoder.") {
            return skip(file, bytes);
        }
        let mut data = vec![0; bytes];
        file.read_exact(&mut data)?;
        if kind == 0 {
            let (numbers, _) = data.as_chunks();
            self.floats.insert(name, numbers.iter().map(|it| f32::from_le_bytes(*it)).collect());
        } else {
            let (numbers, _) = data.as_chunks();
            self.halves.insert(name, numbers.iter().map(|it| f16::from_le_bytes(*it)).collect());
        }
        Ok(())
    }

    /// Takes out `count` 32-bit floats.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn floats(&mut self, name: &str, count: usize) -> io::Result<Vec<f32>> {
        let found = self.floats.remove(&format!("encoder.{name}"));
        found.filter(|it| it.len() == count).ok_or_else(|| missing(name))
    }

    /// Takes out `count` 16-bit floats.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn halves(&mut self, name: &str, count: usize) -> io::Result<Vec<f16>> {
        let found = self.halves.remove(&format!("encoder.{name}"));
        found.filter(|it| it.len() == count).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> io::Error {
    invalid(&format!("there is no encoder.{name} of the right size and type"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn number(file: &mut BufReader<File>) -> io::Result<usize> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes) as usize)
}

fn skip(file: &mut BufReader<File>, bytes: usize) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| invalid("a length is beyond all measure"))?;
    file.seek_relative(bytes)
}
