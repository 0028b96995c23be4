//! Digests: what a blob is called, and the proof that its bytes are the ones meant.
//!
//! Grammar and registered algorithms: OCI image-spec, `descriptor.md`, "Digests". Both registered algorithms are read;
//! what this crate computes on its own is SHA-256.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha256`, 64 hex digits.
    Sha256,
    /// `sha512`, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// The name before the colon; also the directory under `blobs/` of a layout.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A content digest such as `sha256:44136fa3…`. Ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Sum);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sum {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDigestError {
    /// There is no `algorithm:` in front.
    #[error("digest {0:?} has no algorithm: expected sha256:<64 hex digits>")]
    NoAlgorithm(String),
    /// Only sha256 and sha512 are registered.
    #[error("digest {0:?} uses an unsupported algorithm: sha256 and sha512 are known")]
    UnknownAlgorithm(String),
    /// Wrong length, upper case, or not hex.
    #[error("digest {text:?} is malformed: {algorithm} takes {digits} lower-case hex digits")]
    Malformed {
        /// The text in question.
        text: String,
        /// Its algorithm.
        algorithm: Algorithm,
        /// How many digits that algorithm has.
        digits: usize,
    },
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self(Sum::Sha256(Sha256::digest(bytes).into()))
    }

    /// A digest computed elsewhere.
    #[must_use]
    pub fn from_sha256(sum: [u8; 32]) -> Self {
        Self(Sum::Sha256(sum))
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Sum::Sha256(_) => Algorithm::Sha256,
            Sum::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digits after the colon.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The first twelve digits, which is enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.as_bytes()[..6])
    }

    /// The raw sum.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Sum::Sha256(sum) => sum,
            Sum::Sha512(sum) => sum,
        }
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn sum<const N: usize>(
            text: &str,
            algorithm: Algorithm,
            digits: &str,
        ) -> Result<[u8; N], ParseDigestError> {
            let malformed = || ParseDigestError::Malformed {
                text: text.to_owned(),
                algorithm,
                digits: N * 2,
            };
            if digits.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err(malformed());
            }
            let mut out = [0; N];
            hex::decode_to_slice(digits, &mut out).map_err(|_| malformed())?;
            Ok(out)
        }
        match text.split_once(':') {
            None => Err(ParseDigestError::NoAlgorithm(text.to_owned())),
            Some(("sha256", d)) => Ok(Self(Sum::Sha256(sum(text, Algorithm::Sha256, d)?))),
            Some(("sha512", d)) => Ok(Self(Sum::Sha512(sum(text, Algorithm::Sha512, d)?))),
            Some(_) => Err(ParseDigestError::UnknownAlgorithm(text.to_owned())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest such as sha256:<64 hex digits>")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A running digest.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Hashes `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(h) => h.update(bytes),
            State::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of all that was seen.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(h) => Sum::Sha256(h.finalize().into()),
            State::Sha512(h) => Sum::Sha512(h.finalize().into()),
        })
    }
}

/// The bytes are not those that the descriptor promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Right size, other bytes.
    #[error("expected {expected}, but the {size} bytes have {actual}")]
    Digest {
        /// What the descriptor says.
        expected: Box<Digest>,
        /// What the bytes hash to.
        actual: Box<Digest>,
        /// How many bytes there were.
        size: u64,
    },
    /// Too few bytes.
    #[error("{digest} should have {expected} bytes, but ends after {actual}")]
    TooShort {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What there was.
        actual: u64,
    },
    /// Too many bytes; how many more is not looked at.
    #[error("{digest} should have {expected} bytes, but has at least {at_least}")]
    TooLong {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// How many were seen so far.
        at_least: u64,
    },
}

/// Checks size and digest of bytes that pass by.
#[derive(Debug)]
pub struct Verifier {
    expected: Digest,
    size: u64,
    seen: u64,
    hasher: Hasher,
}

impl Verifier {
    /// Expects `size` bytes with the digest `expected`.
    #[must_use]
    pub fn new(expected: Digest, size: u64) -> Self {
        Self {
            expected,
            size,
            seen: 0,
            hasher: Hasher::new(expected.algorithm()),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are more than expected.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let seen = self.seen.saturating_add(bytes.len() as u64);
        if seen > self.size {
            return Err(VerifyError::TooLong {
                digest: self.expected,
                expected: self.size,
                at_least: seen,
            });
        }
        self.seen = seen;
        self.hasher.update(bytes);
        Ok(())
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.size - self.seen
    }

    /// The verdict at the end.
    ///
    /// # Errors
    /// When bytes are missing, or are other bytes.
    pub fn finish(self) -> Result<(), VerifyError> {
        if self.seen < self.size {
            return Err(VerifyError::TooShort {
                digest: self.expected,
                expected: self.size,
                actual: self.seen,
            });
        }
        let actual = self.hasher.finish();
        if actual != self.expected {
            return Err(VerifyError::Digest {
                expected: Box::new(self.expected),
                actual: Box::new(actual),
                size: self.seen,
            });
        }
        Ok(())
    }
}

/// A reader that fails unless its bytes are the expected ones.
///
/// The chunk that completes a blob is handed out only after the digest was found right, so that a consumer that stops
/// after exactly `size` bytes is safe too. A consumer that stops earlier has verified nothing.
/// The error is an [`io::Error`] of kind `InvalidData` around a [`VerifyError`].
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    verifier: Option<Verifier>,
    digest: Digest,
    size: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads a blob from `inner`.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self {
            inner,
            verifier: Some(Verifier::new(digest, size)),
            digest,
            size,
        }
    }
}

pub(crate) fn verify_to_io(error: VerifyError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        let Some(mut verifier) = self.verifier.take() else {
            // Complete and right; anything that follows makes the blob too long.
            if n > 0 {
                return Err(verify_to_io(VerifyError::TooLong {
                    digest: self.digest,
                    expected: self.size,
                    at_least: self.size + n as u64,
                }));
            }
            return Ok(0);
        };
        let verdict = verifier.update(&buf[..n]).and_then(|()| {
            if n == 0 || verifier.remaining() == 0 {
                verifier.finish()
            } else {
                self.verifier = Some(verifier);
                Ok(())
            }
        });
        match verdict {
            Ok(()) => Ok(n),
            Err(error) => {
                // Stay in the failed state: every further read fails as well.
                self.verifier = Some(Verifier::new(self.digest, self.size));
                Err(verify_to_io(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_JSON: &str =
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn text_round_trip() {
        let d = Digest::sha256_of(b"{}");
        assert_eq!(d.to_string(), EMPTY_JSON);
        assert_eq!(EMPTY_JSON.parse::<Digest>().unwrap(), d);
        assert_eq!(
            serde_json::to_string(&d).unwrap(),
            format!("{EMPTY_JSON:?}")
        );
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:44",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "SHA256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "sha256:44136FA355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8g",
            "sha256:../../../../../../../../../../../../../../../../../../etc/passwd",
            "sha512:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn ordered_as_text() {
        let a: Digest = format!("sha256:{}", "ff".repeat(32)).parse().unwrap();
        let b: Digest = format!("sha512:{}", "00".repeat(64)).parse().unwrap();
        assert!(a < b && a.to_string() < b.to_string());
    }

    fn read(bytes: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        VerifyingReader::new(bytes, digest, size)
            .read_to_end(&mut out)
            .map(|_| out)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn verifying_reader() {
        let d = Digest::sha256_of(b"hello");
        assert_eq!(read(b"hello", d, 5).unwrap(), b"hello");
        assert_eq!(read(b"", Digest::sha256_of(b""), 0).unwrap(), b"");
        assert!(read(b"hell", d, 5).unwrap_err().contains("ends after 4"));
        assert!(read(b"hello!", d, 5).unwrap_err().contains("at least 6"));
        let error = read(b"hallo", d, 5).unwrap_err();
        assert!(error.contains(&d.to_string()), "{error}");
        assert!(
            error.contains(&Digest::sha256_of(b"hallo").to_string()),
            "{error}"
        );
    }

    #[test]
    fn the_last_chunk_is_withheld_when_the_digest_is_wrong() {
        let mut reader = VerifyingReader::new(&b"hallo"[..], Digest::sha256_of(b"hello"), 5);
        assert!(reader.read_exact(&mut [0; 5]).is_err());
        assert!(reader.read(&mut [0; 5]).is_err(), "and it stays failed");
    }
}
