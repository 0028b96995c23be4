//! Layers to try policies on.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use sociable_tar::{Header, Kind, TarWriter, WriteError};

use crate::Error;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// So many bytes that no compressor shrinks: weights, archives, pictures.
    Noise(usize),
    /// So many bytes that shrink to about a third: programs, sources.
    Text(usize),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Content {
    fn bytes(self, seed: u64) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Noise(size) => {
                let mut random = Random(seed);
                let words = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
                words.take(size).collect()
            }
            Self::Text(size) => {
                let mut random = Random(seed);
                let mut text = Vec::with_capacity(size + 16);
                while text.len() < size {
                    let word = WORDS[usize::from(random.next().to_le_bytes()[7] % 16)];
                    text.extend_from_slice(word.as_bytes());
                    text.extend_from_slice(&random.next().to_le_bytes()[6..7]);
                }
                text.truncate(size);
                text
            }
        }
    }
}

const WORDS: [&str; 16] = [
    "layer ", "span ", "index ", "the ", "of ", "image", "digest\n", "\t", "0x", "file ", "read",
    "begin ", "offset ", "block ", "in ", "entry",
];

/// Splitmix64 (Steele, Lea and Flood, 2014): the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A tree of files, in the order in which it was made. Paths are relative; nothing makes parents by itself.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(crate) entries: Vec<(Header, Vec<u8>)>,
}

impl Tree {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a file.
    #[must_use]
    pub fn file(self, path: &str, content: Content) -> Self {
        let content = content.bytes(self.entries.len() as u64);
        let size = content.len() as u64;
        self.with(path, Kind::File { size }, content)
    }

    /// With a directory.
    #[must_use]
    pub fn directory(self, path: &str) -> Self {
        self.with(path, Kind::Directory, Vec::new())
    }

    /// With a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let target = target.into();
        self.with(path, Kind::Symlink { target }, Vec::new())
    }

    /// With another name of a file that is there.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        let target = target.into();
        self.with(path, Kind::HardLink { target }, Vec::new())
    }

    fn with(mut self, path: &str, kind: Kind, content: Vec<u8>) -> Self {
        self.entries.push((Header::new(path, kind), content));
        self
    }

    /// The layer that tools without an index make of it: a tar, compressed by zlib at a level of 0 to 9.
    ///
    /// # Errors
    /// [`Error::Tree`], where a tar cannot hold an entry.
    pub fn gzip(&self, level: u32) -> Result<Blob, Error> {
        let tar = self.tar().map_err(|error| Error::Tree(Box::new(error)))?;
        let level = flate2::Compression::new(level.min(9));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        gzip.write_all(&tar).map_err(Error::io("the layer"))?;
        let bytes = gzip.finish().map_err(Error::io("the layer"))?;
        Ok(Blob { bytes })
    }

    fn tar(&self) -> Result<Vec<u8>, WriteError> {
        let mut tar = TarWriter::new(Vec::new());
        for (header, content) in &self.entries {
            let (_, mut data) = tar.entry(header)?;
            data.copy_from(&mut content.as_slice())?;
        }
        tar.finish()
    }
}

/// A layer that exists, gzip or a plain tar.
#[derive(Debug, Clone)]
pub struct Blob {
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    /// Reads one from a file: of your own images, `skopeo copy docker://… dir:…` brings them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(Error::io(path.display().to_string()))?;
        Ok(Self { bytes })
    }
}
