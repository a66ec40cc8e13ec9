//! Inputs: good ones, broken in a few random places.

use fastrand::Rng;

/// Inputs are not made longer than this.
const MAX_BYTES: usize = 4_096;
/// One in so many is noise from the start.
const NOISE: u32 = 16;
/// Bytes at which readers tend to decide something.
const EDGES: &[u8] = b"\x00\x01\x7f\x80\x81\x88\x89\xc1\xfe\xff{}[]\":,\\/.-+eE0129 \n";

/// A stream of inputs, the same for the same seed.
pub(crate) struct Inputs<'a> {
    rng: Rng,
    corpus: &'a [&'a [u8]],
    dictionary: &'a [&'a str],
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(seed: u64, corpus: &'a [&'a [u8]], dictionary: &'a [&'a str]) -> Inputs<'a> {
        Inputs { rng: Rng::with_seed(seed), corpus, dictionary }
    }

    /// For what else a target decides by chance.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.rng.u32(..NOISE) == 0 {
            return self.noise();
        }
        let mut input = self.pick();
        for _ in 0..self.rng.usize(0..6) {
            self.break_somewhere(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        self.corpus[self.rng.usize(..self.corpus.len())].to_vec()
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.rng.usize(0..200);
        std::iter::repeat_with(|| self.rng.u8(..)).take(length).collect()
    }

    fn break_somewhere(&mut self, input: &mut Vec<u8>) {
        let at = self.rng.usize(..=input.len());
        let some = (at + self.rng.usize(0..24)).min(input.len());
        match self.rng.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.u8(..8),
            1 if at < input.len() => input[at] = EDGES[self.rng.usize(..EDGES.len())],
            2 => input.insert(at, EDGES[self.rng.usize(..EDGES.len())]),
            3 => drop(input.drain(at..some)),
            4 => {
                let again = input[at..some].repeat(self.rng.usize(1..20));
                input.splice(at..at, again);
            }
            5 if !self.dictionary.is_empty() => {
                let word = self.dictionary[self.rng.usize(..self.dictionary.len())];
                input.splice(at..some, word.bytes());
            }
            6 => {
                let other = self.pick();
                let from = self.rng.usize(..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}
