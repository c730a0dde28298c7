//! Packed embeddings: version, tokens, dimension, vector, number of pieces, pieces, signs. Numbers are little-endian.

use crate::domain::{Embedding, Sketch};

/// Version of the form.
const VERSION: u8 = 1;
/// Number of pieces that stands for an embedding without a sketch.
const NO_SKETCH: u16 = u16::MAX;

/// Packs an embedding; none if it has more dimensions or pieces than the form has room for.
pub(super) fn pack(embedding: &Embedding) -> Option<Vec<u8>> {
    let dimension = u16::try_from(embedding.vector.len()).ok()?;
    let mut bytes = vec![VERSION];
    bytes.extend(embedding.tokens.to_le_bytes());
    bytes.extend(dimension.to_le_bytes());
    bytes.extend(embedding.vector.iter().flat_map(|value| value.to_le_bytes()));
    match &embedding.sketch {
        None => bytes.extend(NO_SKETCH.to_le_bytes()),
        Some(sketch) => {
            let pieces = u16::try_from(sketch.pieces.len()).ok().filter(|pieces| *pieces != NO_SKETCH)?;
            bytes.extend(pieces.to_le_bytes());
            bytes.extend(sketch.pieces.iter().flat_map(|piece| piece.to_le_bytes()));
            bytes.extend(sketch.bits.iter().flat_map(|word| word.to_le_bytes()));
        }
    }
    Some(bytes)
}

/// Unpacks an embedding of `dimension`; none for bytes of another form, which count as absent.
pub(super) fn unpack(bytes: &[u8], dimension: u16) -> Option<Embedding> {
    let mut reader = Reader(bytes);
    if reader.take::<1>()? != [VERSION] {
        return None;
    }
    let tokens = u32::from_le_bytes(reader.take()?);
    if u16::from_le_bytes(reader.take()?) != dimension {
        return None;
    }
    let vector = reader.many(usize::from(dimension), f32::from_le_bytes)?;
    let sketch = match u16::from_le_bytes(reader.take()?) {
        NO_SKETCH => None,
        pieces => {
            let pieces = usize::from(pieces);
            let words = pieces * usize::from(dimension).div_ceil(64);
            Some(Sketch {
                pieces: reader.many(pieces, u16::from_le_bytes)?,
                bits: reader.many(words, u64::from_le_bytes)?,
            })
        }
    };
    reader.0.is_empty().then_some(Embedding { vector, sketch, tokens })
}

struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn many<const N: usize, T>(&mut self, count: usize, read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        (0..count).map(|_| self.take().map(&read)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedding() -> impl Strategy<Value = Embedding> {
        let vector = prop::collection::vec(-1.0_f32..1.0, 128);
        let sketch = prop::option::of(prop::collection::vec((any::<u16>(), any::<[u64; 2]>()), 0..20));
        (vector, sketch, any::<u32>()).prop_map(|(vector, sketch, tokens)| {
            let sketch = sketch.map(|pieces| Sketch {
                pieces: pieces.iter().map(|(piece, _)| *piece).collect(),
                bits: pieces.iter().flat_map(|(_, bits)| *bits).collect(),
            });
            Embedding { vector, sketch, tokens }
        })
    }

    proptest! {
        #[test]
        fn embeddings_round_trip(embedding in embedding()) {
            let bytes = pack(&embedding).unwrap();
            prop_assert_eq!(unpack(&bytes, 128), Some(embedding));
            prop_assert_eq!(unpack(&bytes, 64), None, "another dimension");
            prop_assert_eq!(unpack(&bytes[..bytes.len() - 1], 128), None, "cut off");
        }

        #[test]
        fn other_bytes_are_absent(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unpack(&bytes, 128), None);
        }
    }
}
