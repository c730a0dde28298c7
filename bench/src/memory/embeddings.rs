//! Embeddings of texts, kept in a file so that later runs need no model.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use keyplane_agent_memory::domain::embedding::Embedding;
use keyplane_agent_memory::domain::{Sketch, SpaceId};
use keyplane_agent_memory::peers::embed::{Embedder, Purpose};

use crate::Error;

/// Texts of a call to the model.
const BATCH: usize = 64;
/// Limit of a call.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// Embeddings by the hash of their text.
pub(super) struct Embeddings {
    known: HashMap<u64, Embedding>,
    file: BufWriter<File>,
}

// === impl Embeddings ===

impl Embeddings {
    /// Reads the file, or begins it.
    pub(super) fn open(path: &Path) -> Result<Embeddings, Error> {
        let failed = |error: std::io::Error| format!("opening {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let bytes = if path.exists() { std::fs::read(path).map_err(failed)? } else { Vec::new() };
        let (known, whole) = decode(&bytes);
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
        Ok(Embeddings { known, file: BufWriter::new(file) })
    }

    /// Embeds the texts that are not known yet.
    pub(super) async fn add(&mut self, embedder: &Embedder, space: &SpaceId, texts: Vec<String>) -> Result<(), Error> {
        let mut missing: Vec<String> = texts.into_iter().filter(|text| !self.known.contains_key(&key(text))).collect();
        missing.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        missing.dedup();
        let (start, total) = (Instant::now(), missing.len());
        for batch in missing.chunks(BATCH) {
            let embedded = embedder.embed(space, Purpose::Passage, batch).await?;
            for (text, embedding) in batch.iter().zip(embedded) {
                self.file.write_all(&encode(key(text), &embedding))?;
                self.known.insert(key(text), embedding);
            }
        }
        self.file.flush()?;
        if total > 0 {
            eprintln!("embedded {total} texts in {:.1?}", start.elapsed());
        }
        Ok(())
    }

    /// Embedding of a text that was added.
    pub(super) fn get(&self, text: &str) -> Result<&Embedding, Error> {
        self.known.get(&key(text)).ok_or_else(|| "text without an embedding".into())
    }
}

fn key(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Record of the file: key, numbers of values, pieces and words of bits, tokens, and then those.
fn encode(key: u64, embedding: &Embedding) -> Vec<u8> {
    let mut bytes = Vec::new();
    let none = Sketch::default();
    let sketch = embedding.sketch.as_ref().unwrap_or(&none);
    bytes.put_u64_le(key);
    for number in [embedding.vector.len(), sketch.pieces.len(), sketch.bits.len(), embedding.tokens as usize] {
        bytes.put_u32_le(u32::try_from(number).unwrap_or(u32::MAX));
    }
    embedding.vector.iter().for_each(|value| bytes.put_f32_le(*value));
    sketch.pieces.iter().for_each(|piece| bytes.put_u16_le(*piece));
    sketch.bits.iter().for_each(|word| bytes.put_u64_le(*word));
    bytes
}

/// All whole records, and the number of their bytes. A record that was cut off by the end of a run is left out.
fn decode(bytes: &[u8]) -> (HashMap<u64, Embedding>, usize) {
    let (mut known, mut rest, mut whole) = (HashMap::new(), bytes, 0);
    while let Some((key, embedding)) = record(&mut rest) {
        known.insert(key, embedding);
        whole = bytes.len() - rest.len();
    }
    (known, whole)
}

fn record(bytes: &mut &[u8]) -> Option<(u64, Embedding)> {
    if bytes.len() < 24 {
        return None;
    }
    let key = bytes.get_u64_le();
    let [values, pieces, words, tokens] = [(); 4].map(|()| bytes.get_u32_le());
    let (values, pieces, words) = (values as usize, pieces as usize, words as usize);
    if bytes.len() < values * 4 + pieces * 2 + words * 8 {
        return None;
    }
    let vector = (0..values).map(|_| bytes.get_f32_le()).collect();
    let pieces = (0..pieces).map(|_| bytes.get_u16_le()).collect();
    let bits = (0..words).map(|_| bytes.get_u64_le()).collect();
    Some((key, Embedding { vector, sketch: Some(Sketch { pieces, bits }), tokens }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_a_cut_one_is_left_out() {
        let sketch = Sketch { pieces: vec![7, 8], bits: vec![1, u64::MAX] };
        let embedding = Embedding { vector: vec![0.6, -0.8], sketch: Some(sketch), tokens: 4 };
        let mut bytes = encode(1, &embedding);
        let second = encode(2, &embedding);
        bytes.extend(&second[..second.len() - 1]);
        assert_eq!(decode(&bytes), (HashMap::from([(1, embedding)]), second.len()));
    }
}
