//! Embedding of a question.

use keyplane_contracts::Violation;

use crate::domain::sketch::normalize;
use crate::domain::{Embedding, Sketch, Space};
use crate::error::Error;

/// Place of a question in a space of embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    place: Option<(Space, Embedding)>,
}

// === impl Asked ===

impl Asked {
    /// Question without an embedding: words alone rank. For operators that declare no space.
    #[must_use]
    pub fn in_words() -> Asked {
        Asked { place: None }
    }

    /// Question that the service embedded.
    #[must_use]
    pub fn embedded(space: Space, embedding: Embedding) -> Asked {
        Asked { place: Some((space, embedding)) }
    }

    /// Question that its caller embedded; the vector may have any length.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the vector has another dimension than the space, or no direction.
    pub fn with_vector(space: Space, vector: &[f32]) -> Result<Asked, Error> {
        if vector.len() != usize::from(space.dimension) {
            let (id, dimension) = (space.id.as_str(), space.dimension);
            let rule = format!("must have {dimension} values, the dimension of space {id}; it has {}", vector.len());
            return Err(Error::invalid(Violation::new("vector", rule)));
        }
        let rule = "must have a direction: finite values, not all 0";
        let vector = normalize(vector).ok_or_else(|| Error::invalid(Violation::new("vector", rule)))?;
        Ok(Asked::embedded(space, Embedding { vector, sketch: None, tokens: 0 }))
    }

    pub(super) fn space(&self) -> Option<&Space> {
        self.place.as_ref().map(|(space, _)| space)
    }

    pub(super) fn embedding(&self) -> (Option<Vec<f32>>, Option<Sketch>) {
        match &self.place {
            Some((_, embedding)) => (Some(embedding.vector.clone()), embedding.sketch.clone()),
            None => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_of_a_caller_has_the_dimension_and_a_direction() {
        let space = Space { dimension: 2, ..Space::minilm() };
        for vector in [&[1.0][..], &[1.0, 1.0, 1.0], &[0.0, 0.0], &[f32::NAN, 1.0]] {
            assert!(matches!(Asked::with_vector(space.clone(), vector), Err(Error::Invalid(_))), "{vector:?}");
        }
        let asked = Asked::with_vector(space, &[3.0, 4.0]).expect("a vector");
        assert_eq!(asked.embedding(), (Some(vec![0.6, 0.8]), None));
    }
}
