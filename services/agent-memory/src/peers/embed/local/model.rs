//! BERT model and its tokenizer: texts to vectors and sketches.

use std::fmt;
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::Deserialize;
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use super::super::{EmbedError, OpenError};
use super::batch::{Batch, batches};
use super::bert::{Bert, Config};
use super::pieces::Vocabulary;
use crate::domain::{Embedding, Pooling, Sketch, Space};

/// Least length of a usable model's longest input, in pieces.
const SHORTEST: usize = 16;
/// Bits of a word of a sketch.
const WORD: usize = 64;

/// Model, ready to embed on any thread.
pub(super) struct Model {
    bert: Bert,
    tokenizer: Tokenizer,
    pooling: Pooling,
    /// Absent if sketches are not possible: ids over 16 bits, or a dimension that is no multiple of 64.
    vocabulary: Option<Vocabulary>,
}

/// Part of `sentence_bert_config.json`.
#[derive(Deserialize)]
struct Limits {
    max_seq_length: usize,
}

// === impl Model ===

impl Model {
    /// Reads the model in `folder`. Texts beyond the model's longest input are cut.
    pub(super) fn open(space: &Space, folder: &Path) -> Result<Model, OpenError> {
        let path = folder.join("config.json");
        let config: Config = read_json(&path)?;
        if let Some(rule) = config.broken_rule() {
            return Err(unusable(&path)(rule.to_owned()));
        }
        if config.hidden_size != usize::from(space.dimension) {
            return Err(OpenError::Dimension {
                space: space.id.as_str().to_owned(),
                declared: space.dimension,
                found: config.hidden_size,
            });
        }
        let limits = folder.join("sentence_bert_config.json");
        let longest = if limits.exists() { read_json::<Limits>(&limits)?.max_seq_length } else { usize::MAX };
        let tokenizer = open_tokenizer(&folder.join("tokenizer.json"), longest.min(config.max_position_embeddings))?;
        let vocabulary = config.hidden_size.is_multiple_of(WORD).then(|| Vocabulary::new(&tokenizer)).flatten();
        let bert = open_weights(&folder.join("model.safetensors"), &config)?;
        Ok(Model { bert, tokenizer, pooling: space.pooling, vocabulary })
    }

    pub(super) fn sketches(&self) -> bool {
        self.vocabulary.is_some()
    }

    /// Embeddings of texts, each given with the length of its prefix in bytes.
    pub(super) fn embed(&self, texts: &[(&str, usize)]) -> Result<Vec<Embedding>, EmbedError> {
        let encode = |(text, _): &(&str, usize)| self.tokenizer.encode(*text, true);
        let encodings: Vec<Encoding> = texts.iter().map(encode).collect::<Result<_, _>>().map_err(failed)?;
        let mut embeddings: Vec<Option<Embedding>> = vec![None; texts.len()];
        for batch in batches(&encodings).map_err(failed)? {
            let (vectors, states) = self.run(&batch).map_err(failed)?;
            for ((at, vector), states) in batch.members.into_iter().zip(vectors).zip(states) {
                let sketch = self.vocabulary.as_ref().map(|vocabulary| {
                    let content = vocabulary.content(&encodings[at], texts[at].1);
                    Sketch::of(content.into_iter().map(|(at, id)| (id, states[at].as_slice())))
                });
                let tokens = u32::try_from(encodings[at].len()).unwrap_or(u32::MAX);
                embeddings[at] = Some(Embedding { vector, sketch, tokens });
            }
        }
        Ok(embeddings.into_iter().flatten().collect())
    }

    /// Vectors of length 1, and the last states of all pieces.
    #[expect(clippy::type_complexity, reason = "candle's own types")]
    fn run(&self, batch: &Batch) -> candle_core::Result<(Vec<Vec<f32>>, Vec<Vec<Vec<f32>>>)> {
        let padded = batch.padded.then_some(&batch.mask);
        let states = self.bert.forward(&batch.ids, padded)?;
        let pooled = match self.pooling {
            Pooling::Mean => {
                let mask = batch.mask.unsqueeze(D::Minus1)?;
                states.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?
            }
            Pooling::First => states.narrow(1, 0, 1)?.squeeze(1)?,
        };
        let vectors = normalise(&pooled)?.to_vec2()?;
        Ok((vectors, states.to_vec3()?))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Model").field("pooling", &self.pooling).finish_non_exhaustive()
    }
}

fn normalise(vectors: &Tensor) -> candle_core::Result<Tensor> {
    vectors.broadcast_div(&vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

fn failed(error: impl fmt::Display) -> EmbedError {
    EmbedError::Failed(error.to_string())
}

// === files ===

fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })
}

fn unusable(path: &Path) -> impl Fn(String) -> OpenError {
    let path = path.to_owned();
    move |detail| OpenError::Unusable { path: path.clone(), detail }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, OpenError> {
    serde_json::from_slice(&read(path)?).map_err(|error| unusable(path)(error.to_string()))
}

fn open_tokenizer(path: &Path, longest: usize) -> Result<Tokenizer, OpenError> {
    let rejected = unusable(path);
    if longest < SHORTEST {
        return Err(rejected(format!("the model's longest input is {longest} pieces; it must be {SHORTEST} or more")));
    }
    let mut tokenizer = Tokenizer::from_bytes(read(path)?).map_err(|error| rejected(error.to_string()))?;
    let truncation = TruncationParams { max_length: longest, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|error| rejected(error.to_string()))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn open_weights(path: &Path, config: &Config) -> Result<Bert, OpenError> {
    let rejected = |error: candle_core::Error| unusable(path)(error.to_string());
    let weights = VarBuilder::from_buffered_safetensors(read(path)?, DType::F32, &Device::Cpu).map_err(rejected)?;
    Bert::load(weights, config).map_err(rejected)
}
