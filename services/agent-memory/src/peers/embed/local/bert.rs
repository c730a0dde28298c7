//! BERT's encoder on candle's tensors. candle-transformers has one too, among a hundred models that would be compiled with it.
//!
//! Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers".

use candle_core::{D, Module as _, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, layer_norm, linear};
use serde::Deserialize;

/// Score of padding, below that of any piece: its weight vanishes.
const PADDING: f64 = 1e9;

/// `config.json`: the fields that the encoder needs.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) layer_norm_eps: f64,
    pub(super) hidden_act: Activation,
}

/// Activation between the two halves of a layer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Activation {
    /// By the error function.
    Gelu,
    Relu,
}

/// Encoder: ids of pieces to a state for each.
pub(super) struct Bert {
    words: Embedding,
    /// Sum of the embeddings of positions and of the first segment, the only one in use.
    positions: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    heads: usize,
    /// Query (scaled), key and value in one product.
    projection: Linear,
    output: Linear,
    output_norm: LayerNorm,
    up: Linear,
    activation: Activation,
    down: Linear,
    down_norm: LayerNorm,
}

// === impl Config ===

impl Config {
    /// Rule that the numbers break; none if the encoder can be built.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let numbers = [
            self.vocab_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            self.type_vocab_size,
        ];
        if numbers.contains(&0) {
            return Some("its sizes must be 1 or more");
        }
        let divides = self.hidden_size.is_multiple_of(self.num_attention_heads);
        (!divides).then_some("num_attention_heads must divide hidden_size")
    }
}

// === impl Bert ===

impl Bert {
    /// Takes the weights from `weights`, with or without the prefix `bert.`.
    pub(super) fn load(weights: VarBuilder<'_>, config: &Config) -> Result<Bert> {
        let prefixed = weights.contains_tensor("bert.embeddings.word_embeddings.weight");
        let weights = if prefixed { weights.pp("bert") } else { weights };
        let hidden = config.hidden_size;
        let table = weights.pp("embeddings");
        let words = table.pp("word_embeddings").get((config.vocab_size, hidden), "weight")?;
        let positions = table.pp("position_embeddings").get((config.max_position_embeddings, hidden), "weight")?;
        let segments = table.pp("token_type_embeddings").get((config.type_vocab_size, hidden), "weight")?;
        let layer = |number| Layer::load(&weights.pp(format!("encoder.layer.{number}")), config);
        Ok(Bert {
            words: Embedding::new(words, hidden),
            positions: positions.broadcast_add(&segments.get(0)?)?,
            norm: layer_norm(hidden, config.layer_norm_eps, table.pp("LayerNorm"))?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        })
    }

    /// States of all pieces: texts × pieces × hidden size. `mask` is 1 for a piece and 0 for padding; none without padding.
    pub(super) fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (texts, pieces) = ids.dims2()?;
        let penalty = mask.map(|mask| mask.affine(PADDING, -PADDING)?.reshape((texts, 1, 1, pieces))).transpose()?;
        let embedded = self.words.forward(ids)?.broadcast_add(&self.positions.narrow(0, 0, pieces)?)?;
        let states = self.norm.forward(&embedded)?;
        self.layers.iter().try_fold(states, |states, layer| layer.forward(&states, penalty.as_ref()))
    }
}

// === impl Layer ===

impl Layer {
    fn load(weights: &VarBuilder<'_>, config: &Config) -> Result<Layer> {
        let (hidden, inner, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = weights.pp("attention");
        Ok(Layer {
            heads: config.num_attention_heads,
            projection: projection(&attention.pp("self"), config)?,
            output: linear(hidden, hidden, attention.pp("output.dense"))?,
            output_norm: layer_norm(hidden, epsilon, attention.pp("output.LayerNorm"))?,
            up: linear(hidden, inner, weights.pp("intermediate.dense"))?,
            activation: config.hidden_act,
            down: linear(inner, hidden, weights.pp("output.dense"))?,
            down_norm: layer_norm(hidden, epsilon, weights.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, states: &Tensor, penalty: Option<&Tensor>) -> Result<Tensor> {
        let attended = self.output.forward(&self.attend(states, penalty)?)?;
        let states = self.output_norm.forward(&(attended + states)?)?;
        let inner = self.up.forward(&states)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::Relu => inner.relu()?,
        };
        self.down_norm.forward(&(self.down.forward(&inner)? + states)?)
    }

    /// Attention of all heads.
    fn attend(&self, states: &Tensor, penalty: Option<&Tensor>) -> Result<Tensor> {
        let (texts, pieces, hidden) = states.dims3()?;
        let projected = self.projection.forward(states)?;
        let split = projected.reshape((texts, pieces, 3, self.heads, hidden / self.heads))?;
        let split = split.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (query, key, value) = (split.get(0)?, split.get(1)?, split.get(2)?);
        let scores = query.matmul(&key.transpose(D::Minus2, D::Minus1)?)?;
        let scores = match penalty {
            Some(penalty) => scores.broadcast_add(penalty)?,
            None => scores,
        };
        let attended = softmax_last_dim(&scores)?.matmul(&value)?;
        attended.transpose(1, 2)?.contiguous()?.reshape((texts, pieces, hidden))
    }
}

/// Query, key and value as one layer; the query has the factor of the scores, 1/√(size of a head), in it.
#[expect(clippy::cast_precision_loss, reason = "sizes of heads are small")]
fn projection(weights: &VarBuilder<'_>, config: &Config) -> Result<Linear> {
    let hidden = config.hidden_size;
    let scale = 1.0 / ((hidden / config.num_attention_heads) as f64).sqrt();
    let part = |name: &str, scale: f64| -> Result<(Tensor, Tensor)> {
        let weights = weights.pp(name);
        let weight = weights.get((hidden, hidden), "weight")?.affine(scale, 0.0)?;
        Ok((weight, weights.get(hidden, "bias")?.affine(scale, 0.0)?))
    };
    let parts = [part("query", scale)?, part("key", 1.0)?, part("value", 1.0)?];
    let [weights, biases]: [Vec<&Tensor>; 2] =
        [parts.iter().map(|(weight, _)| weight).collect(), parts.iter().map(|(_, bias)| bias).collect()];
    Ok(Linear::new(Tensor::cat(&weights, 0)?, Some(Tensor::cat(&biases, 0)?)))
}
