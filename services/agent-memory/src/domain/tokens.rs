//! Token counts, as a caller's language model would count them.

use std::fmt;

use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// Counter of tokens: an encoding, and a factor for models whose encoding is not public.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenCounter {
    encoding: Encoding,
    /// Tokens of the model for a token of the encoding.
    factor: f32,
}

/// Public encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// GPT-4o and later.
    O200k,
    /// GPT-4, GPT-3.5, and the embedding models of their time.
    Cl100k,
}

// === impl TokenCounter ===

impl TokenCounter {
    /// Bounds of the factor.
    pub const FACTORS: std::ops::RangeInclusive<f32> = 0.25..=4.0;

    /// Counter of an encoding.
    #[must_use]
    pub fn new(encoding: Encoding) -> TokenCounter {
        TokenCounter { encoding, factor: 1.0 }
    }

    /// Parses `o200k` or `cl100k`, alone or with a factor of 0.25 to 4, such as `o200k*1.2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<TokenCounter> {
        let (name, factor) = match text.split_once('*') {
            Some((name, factor)) => (name, factor.parse().ok()?),
            None => (text, 1.0),
        };
        let encoding = Encoding::ALL.into_iter().find(|encoding| encoding.name() == name)?;
        TokenCounter::FACTORS.contains(&factor).then_some(TokenCounter { encoding, factor })
    }

    /// Number of tokens of `text`, rounded up. Special tokens such as `<|endoftext|>` count as plain text. O(length);
    /// the first call takes some 200 ms to unpack the encoding.
    #[must_use]
    pub fn count(&self, text: &str) -> u32 {
        let tokens = self.encoding.table().encode_ordinary(text).len();
        #[expect(clippy::cast_precision_loss, reason = "texts have fewer than 2^24 tokens")]
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
        let count = (tokens as f32 * self.factor).ceil() as u32;
        count
    }
}

impl fmt::Display for TokenCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.factor == 1.0 {
            return formatter.write_str(self.encoding.name());
        }
        write!(formatter, "{}*{}", self.encoding.name(), self.factor)
    }
}

// === impl Encoding ===

impl Encoding {
    const ALL: [Encoding; 2] = [Encoding::O200k, Encoding::Cl100k];

    fn name(self) -> &'static str {
        match self {
            Encoding::O200k => "o200k",
            Encoding::Cl100k => "cl100k",
        }
    }

    fn table(self) -> &'static CoreBPE {
        match self {
            Encoding::O200k => o200k_base_singleton(),
            Encoding::Cl100k => cl100k_base_singleton(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_equal_the_public_encodings() {
        // Counted with OpenAI's own tiktoken.
        for (text, o200k, cl100k) in
            [("", 0, 0), ("hello world", 2, 2), ("<|endoftext|>", 7, 7), ("東京に住んでいます", 6, 9)]
        {
            assert_eq!(TokenCounter::new(Encoding::O200k).count(text), o200k, "{text}");
            assert_eq!(TokenCounter::new(Encoding::Cl100k).count(text), cl100k, "{text}");
        }
    }

    #[test]
    fn factor_scales_and_rounds_up() {
        let counter = TokenCounter::parse("o200k*1.2").unwrap();
        assert_eq!(counter.count("hello world"), 3);
        assert_eq!(counter.to_string(), "o200k*1.2");
        assert_eq!(TokenCounter::parse("cl100k"), Some(TokenCounter::new(Encoding::Cl100k)));
    }

    #[test]
    fn other_names_and_factors_are_rejected() {
        for text in ["", "O200k", "gpt-4o", "o200k*", "o200k*0.1", "o200k*5", "o200k*NaN", "*1.2"] {
            assert_eq!(TokenCounter::parse(text), None, "{text}");
        }
    }
}
