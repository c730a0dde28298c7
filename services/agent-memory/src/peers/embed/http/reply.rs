//! Reply of the embeddings API.

use serde::Deserialize;

use super::EmbedError;
use crate::domain::Embedding;
use crate::domain::sketch::normalize;

/// Reply with a vector for each text.
#[derive(Deserialize)]
pub(super) struct Reply {
    data: Vec<Row>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Row {
    /// Position of the text in the request.
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
}

// === impl Reply ===

impl Reply {
    pub(super) fn parse(body: &[u8]) -> Result<Reply, String> {
        serde_json::from_slice(body).map_err(|error| {
            format!("its reply is not of the embeddings API: {error}; check that the URL names the embeddings resource")
        })
    }

    /// Embeddings of `texts`, in their order. The API counts the tokens of a request; each text gets a share by its length.
    pub(super) fn embeddings(mut self, texts: &[String], dimension: usize) -> Result<Vec<Embedding>, EmbedError> {
        self.data.sort_by_key(|row| row.index);
        let complete = self.data.iter().enumerate().all(|(position, row)| row.index == position);
        if self.data.len() != texts.len() || !complete {
            let (found, expected) = (self.data.len(), texts.len());
            return Err(EmbedError::Unavailable(format!("it answered {found} vectors to {expected} texts")));
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        let share = |text: &String| self.usage.prompt_tokens * text.len() as u64 / (bytes as u64).max(1);
        let rows = std::mem::take(&mut self.data);
        let embedding = |(row, text): (Row, &String)| {
            let vector = unit(&row.embedding, dimension)?;
            Ok(Embedding { vector, sketch: None, tokens: u32::try_from(share(text)).unwrap_or(u32::MAX) })
        };
        rows.into_iter().zip(texts).map(embedding).collect()
    }
}

/// Vector of length 1.
fn unit(values: &[f32], dimension: usize) -> Result<Vec<f32>, EmbedError> {
    if values.len() != dimension {
        return Err(EmbedError::Unavailable(format!(
            "it answered {} dimensions, and the space declares {dimension}; check the model of the space",
            values.len()
        )));
    }
    normalize(values).ok_or_else(|| EmbedError::Unavailable("it answered a vector without a direction".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        vec!["aaaa".to_owned(), "bb".to_owned()]
    }

    fn embeddings(body: &str) -> Result<Vec<Embedding>, EmbedError> {
        Reply::parse(body.as_bytes()).unwrap().embeddings(&texts(), 2)
    }

    #[test]
    fn rows_in_any_order_are_normalised() {
        let body =
            r#"{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}],"usage":{"prompt_tokens":6}}"#;
        let embedding = |vector: [f32; 2], tokens| Embedding { vector: vector.to_vec(), sketch: None, tokens };
        assert_eq!(embeddings(body), Ok(vec![embedding([0.6, 0.8], 4), embedding([0.0, 1.0], 2)]));
    }

    #[test]
    fn unusable_replies_say_what_is_wrong() {
        for (body, part) in [
            (r#"{"data":[]}"#, "0 vectors to 2 texts"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}]}"#, "vectors"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,0]}]}"#, "1 dimensions"),
            (r#"{"data":[{"index":0,"embedding":[0,0]},{"index":1,"embedding":[1,0]}]}"#, "without a direction"),
        ] {
            let error = embeddings(body).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Reply::parse(b"<html>").is_err_and(|error| error.contains("URL")));
    }
}
