//! Vectors and sketches: made from embeddings, compared with each other.

use super::item::{Sketch, Vector};

/// Bits of a word of a sketch.
const WORD: usize = 64;

// === impl Vector ===

impl Vector {
    /// Normalises `values` to length 1 and rounds them to 8 bits; none if they have no direction: all 0, or not finite.
    #[must_use]
    pub fn quantize(values: &[f32]) -> Option<Vector> {
        let unit = normalize(values)?;
        let largest = unit.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        #[expect(clippy::cast_possible_truncation, reason = "a quotient is within -127 to 127")]
        let values = unit.iter().map(|value| (value / scale).round() as i8).collect();
        Some(Vector { scale, values })
    }

    /// Cosine with a vector of length 1; 0 if their dimensions differ.
    #[must_use]
    pub fn cosine(&self, other: &[f32]) -> f32 {
        if self.values.len() != other.len() {
            return 0.0;
        }
        self.scale * dot(&self.values, other)
    }
}

/// Vector of length 1 in the direction of `values`; none if they are all 0, or not finite.
#[must_use]
pub fn normalize(values: &[f32]) -> Option<Vec<f32>> {
    let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_normal() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a quotient is within -1 to 1")]
    let unit = values.iter().map(|value| (f64::from(*value) / length) as f32).collect();
    Some(unit)
}

/// Sum of products in 8 lanes, which the compiler turns into vector instructions.
fn dot(a: &[i8], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| f32::from(*a) * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f32::from(*a) * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

// === impl Sketch ===

impl Sketch {
    /// Sketch of word-pieces and their embeddings, all of one dimension, in the order of the text. Pieces without content
    /// ([`super::text::is_content_piece`]) are the caller's to leave out.
    #[must_use]
    pub fn of<'a>(pieces: impl IntoIterator<Item = (u16, &'a [f32])>) -> Sketch {
        let mut sketch = Sketch::default();
        for (piece, values) in pieces {
            sketch.pieces.push(piece);
            sketch.bits.extend(values.chunks(WORD).map(signs));
        }
        sketch
    }

    /// Number of word-pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Returns whether the text has no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Words of bits of a piece; 0 for an empty sketch.
    #[must_use]
    pub fn words(&self) -> usize {
        self.bits.len().checked_div(self.pieces.len()).unwrap_or(0)
    }

    /// Bits of each piece.
    pub fn each(&self) -> impl Iterator<Item = &[u64]> {
        self.bits.chunks_exact(self.words().max(1))
    }

    /// Similarity of the piece of this sketch that is closest to `piece`, -1 to 1; 0 if this sketch is empty or of another
    /// dimension.
    #[must_use]
    pub fn best_match(&self, piece: &[u64]) -> f32 {
        let words = self.words();
        if words == 0 || words != piece.len() {
            return 0.0;
        }
        let dimension = words * WORD;
        // Loops of a known length compile to straight vector code.
        let least = match words {
            6 => least::<6>(&self.bits, piece),
            12 => least::<12>(&self.bits, piece),
            16 => least::<16>(&self.bits, piece),
            _ => self.each().map(|bits| hamming(bits, piece)).min(),
        };
        let least = least.unwrap_or(0);
        (dimension as f32 - 2.0 * least as f32) / dimension as f32
    }
}

/// Signs of up to 64 values; bit `i` is set if value `i` is positive.
fn signs(values: &[f32]) -> u64 {
    values.iter().enumerate().fold(0, |bits, (at, value)| bits | (u64::from(*value > 0.0) << at))
}

/// Least number of bits in which a piece of `bits` differs from `piece`; none without pieces, or of another length.
fn least<const WORDS: usize>(bits: &[u64], piece: &[u64]) -> Option<u32> {
    let piece: &[u64; WORDS] = piece.try_into().ok()?;
    bits.as_chunks::<WORDS>().0.iter().map(|bits| hamming(bits, piece)).min()
}

/// Number of bits that differ.
#[inline]
fn hamming(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_without_a_direction_are_rejected() {
        for values in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            assert_eq!(Vector::quantize(values), None, "{values:?}");
        }
    }

    #[test]
    fn other_dimensions_have_nothing_in_common() {
        let vector = Vector::quantize(&[1.0; 9]).expect("a direction");
        assert_eq!(vector.cosine(&[1.0; 8]), 0.0);
        let sketch = Sketch::of([(7, &[1.0_f32; 64][..])]);
        assert_eq!(sketch.best_match(&[0, 0]), 0.0);
        assert_eq!(Sketch::default().best_match(&[0]), 0.0);
    }

    #[test]
    fn best_match_is_that_of_the_closest_piece() {
        let (up, down) = ([1.0_f32; 128], [-1.0_f32; 128]);
        let mut half = up;
        half[..64].fill(-1.0);
        let sketch = Sketch::of([(1, &up[..]), (2, &half[..])]);
        assert_eq!((sketch.len(), sketch.words()), (2, 2));
        assert_eq!(sketch.best_match(&[u64::MAX, u64::MAX]), 1.0);
        assert_eq!(sketch.best_match(&[0, 0]), 0.0);
        assert_eq!(Sketch::of([(1, &down[..])]).best_match(&[u64::MAX, u64::MAX]), -1.0);
    }

    proptest! {
        #[test]
        fn eight_bits_keep_the_cosine(
            (a, b) in (8_usize..400).prop_flat_map(|n| (proptest::collection::vec(-1.0_f32..1.0, n), proptest::collection::vec(-1.0_f32..1.0, n))),
        ) {
            prop_assume!(a.iter().any(|value| value.abs() > 0.01) && b.iter().any(|value| value.abs() > 0.01));
            let (a, b) = (normalize(&a).expect("a direction"), normalize(&b).expect("a direction"));
            let exact: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let rounded = Vector::quantize(&a).expect("a direction").cosine(&b);
            prop_assert!((exact - rounded).abs() < 0.02, "{} {}", exact, rounded);
        }

        #[test]
        fn closest_piece_is_found_at_every_length(words in 1_usize..18, pieces in 1_usize..5, seed: u64) {
            let random = |at: usize| (at as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32);
            let bits: Vec<u64> = (0..words * pieces).map(random).collect();
            let piece: Vec<u64> = (0..words).map(|at| random(at + 1000)).collect();
            let sketch = Sketch { pieces: vec![7; pieces], bits };
            let best = sketch.each().map(|own| 1.0 - 2.0 * hamming(own, &piece) as f32 / (words * WORD) as f32).fold(-1.0, f32::max);
            prop_assert!((sketch.best_match(&piece) - best).abs() < 1e-6);
        }

        #[test]
        fn a_sketch_matches_itself(values in proptest::collection::vec(-1.0_f32..1.0, 64..=64)) {
            let sketch = Sketch::of([(1, &values[..])]);
            prop_assert_eq!(sketch.best_match(&sketch.bits), 1.0);
        }
    }
}
