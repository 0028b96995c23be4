//! Randomness that is the same on every machine.

/// `SplitMix64`: small, fast, and good enough to make inputs.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the remainder is below a usize"
    )]
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Bytes that no compressor can shrink.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.number().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    /// Bytes that shrink as text does, to about a third.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 12] = [
            "layer ",
            "span ",
            "checkpoint ",
            "the ",
            "of ",
            "image",
            "digest\n",
            "\t",
            "0x",
            "lazy ",
            "-",
            "snapshot ",
        ];
        let mut out = Vec::with_capacity(len + 16);
        while out.len() < len {
            if self.one_in(4) {
                out.extend_from_slice(format!("{:x} ", self.number() >> 40).as_bytes());
            } else {
                out.extend_from_slice(self.pick(&WORDS).as_bytes());
            }
        }
        out.truncate(len);
        out
    }

    /// Bytes of a random kind: noise, text, zeros, or all of them in turn.
    pub fn content(&mut self, len: usize) -> Vec<u8> {
        match self.below(5) {
            0 => self.noise(len),
            1 | 2 => self.text(len),
            3 => vec![0; len],
            _ => {
                let mut out = self.text(len / 3);
                out.extend(self.noise(len / 3));
                out.resize(len, 0);
                out
            }
        }
    }
}
