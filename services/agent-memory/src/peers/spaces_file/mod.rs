//! Spaces file of the operator, in YAML. Read at the start: a space never changes, another model is another space.
//!
//! ```yaml
//! spaces:                            # 1 to 16; the first one is the default
//!   - id: minilm-l6-v2               # [a-z0-9-], 1 to 32 characters
//!     model: sentence-transformers/all-MiniLM-L6-v2
//!     revision: "1"                  # name it anew when the model's vectors change
//!     dimension: 384                 # 8 to 4,096
//!     threshold: 0.92                # cosine of near duplicates, 0.5 to 1; 0.92 by default
//!     algorithm: hnsw                # or flat
//!     local: {folder: /models/minilm}
//!   - id: text-embedding-3-small
//!     model: text-embedding-3-small
//!     revision: "1"
//!     dimension: 1536
//!     http: {url: "https://api.openai.com/v1/embeddings", key_file: /secrets/openai, send_dimensions: true}
//!   - id: e5
//!     model: intfloat/e5-base-v2
//!     revision: "1"
//!     dimension: 768
//!     query_prefix: "query: "        # put before each query by the service
//!     passage_prefix: "passage: "
//!     local: {folder: /models/e5}
//!     pooling: mean                  # or first
//!   - id: own                        # neither local nor http: callers send vectors
//!     model: our-model
//!     revision: "7"
//!     dimension: 256
//! ```
//!
//! Unknown and duplicate keys are errors.

mod yaml;

use std::path::{Path, PathBuf};

use keyplane_contracts::{Violation, Violations};

use super::embed::{Declaration, Endpoint, Source};
use crate::domain::{Algorithm, Pooling, Space, SpaceId};

/// Most spaces of a file.
const MOST: usize = 16;
/// Largest file, in bytes.
const BYTES: usize = 64 * 1024;
/// Cosine of near duplicates where the file has none.
const THRESHOLD: f32 = 0.92;

/// File that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the spaces file {} cannot be used: {fault}", path.display())]
pub struct Rejected {
    /// Path of the file.
    pub path: PathBuf,
    /// Reason.
    pub fault: Fault,
}

/// Reason for which a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// File can't be read, or is not UTF-8.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// File is too large.
    #[error("it has more than {BYTES} bytes")]
    TooLarge,
    /// File is not YAML of this form; with the line.
    #[error("{0}")]
    Syntax(String),
    /// Spaces break these rules.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
}

/// Reads the file at `path`.
///
/// # Errors
///
/// [`Rejected`], with the first error of syntax, or with every broken rule.
pub async fn read(path: &Path) -> Result<Vec<Declaration>, Rejected> {
    let text = tokio::fs::read_to_string(path).await;
    let declarations = text.map_err(Fault::from).and_then(|text| parse(&text));
    declarations.map_err(|fault| Rejected { path: path.to_owned(), fault })
}

/// Parses a file.
///
/// # Errors
///
/// First error of syntax, else every broken rule.
pub fn parse(text: &str) -> Result<Vec<Declaration>, Fault> {
    if text.len() > BYTES {
        return Err(Fault::TooLarge);
    }
    let file = yaml::read(text).map_err(Fault::Syntax)?;
    let mut violations = Violations::new();
    if !(1..=MOST).contains(&file.spaces.len()) {
        violations.add("spaces", format!("must be 1 to {MOST}; there are {}", file.spaces.len()));
    }
    let mut declarations: Vec<Declaration> = Vec::new();
    for (index, row) in file.spaces.into_iter().enumerate() {
        let field = format!("spaces[{index}]");
        let Some(declaration) = declaration(row, &field, &mut violations) else { continue };
        if declarations.iter().any(|other| other.space.id == declaration.space.id) {
            violations.add(format!("{field}.id"), "must not be the id of another space too");
        }
        declarations.push(declaration);
    }
    violations.into_result(declarations).map_err(Fault::Invalid)
}

fn declaration(row: yaml::Row, field: &str, violations: &mut Violations) -> Option<Declaration> {
    let source = match (row.local, row.http) {
        (None, None) => Source::Callers,
        (Some(local), None) => Source::Local { folder: local.folder },
        (None, Some(http)) => {
            Source::Http(Endpoint { url: http.url, key_file: http.key_file, send_dimensions: http.send_dimensions })
        }
        (Some(_), Some(_)) => {
            violations.add(field, "must have local or http, not both");
            return None;
        }
    };
    let Some(id) = SpaceId::parse(&row.id) else {
        violations.add(format!("{field}.id"), "must be 1 to 32 characters of a-z, 0-9 and -");
        return None;
    };
    let pooling = match row.pooling {
        yaml::Pooling::Mean => Pooling::Mean,
        yaml::Pooling::First => Pooling::First,
    };
    let algorithm = match row.algorithm {
        yaml::Algorithm::Flat => Algorithm::Flat,
        yaml::Algorithm::Hnsw => Algorithm::Hnsw,
    };
    let space = Space {
        id,
        model: row.model,
        revision: row.revision,
        dimension: row.dimension,
        pooling,
        query_prefix: row.query_prefix,
        passage_prefix: row.passage_prefix,
        threshold: row.threshold.unwrap_or(THRESHOLD),
        algorithm,
    };
    for (name, rule) in space.broken_rules() {
        violations.add(format!("{field}.{name}"), rule);
    }
    Some(Declaration { space, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "{id: own, model: m, revision: '1', dimension: 256}";

    fn faults(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn example_of_the_documentation_is_valid() {
        let documentation = include_str!("mod.rs").lines();
        let lines =
            documentation.skip_while(|line| *line != "//! ```yaml").skip(1).take_while(|line| *line != "//! ```");
        let example: String = lines.map(|line| format!("{}\n", line.trim_start_matches("//! "))).collect();
        let declarations = parse(&example).unwrap();
        let ids: Vec<_> = declarations.iter().map(|declaration| declaration.space.id.as_str()).collect();
        assert_eq!(ids, ["minilm-l6-v2", "text-embedding-3-small", "e5", "own"]);
        assert_eq!(declarations[0].source, Source::Local { folder: "/models/minilm".into() });
        assert_eq!(declarations[2].space.query_prefix, "query: ");
        assert_eq!(declarations[3].source, Source::Callers);
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let text = format!(
            "spaces: [{MINIMAL}, {MINIMAL}, {{id: 'O w n', model: m, revision: '1', dimension: 4}}, \
             {{id: x, model: '', revision: '', dimension: 4, threshold: 2}}, \
             {{id: y, model: m, revision: r, dimension: 8, local: {{folder: f}}, http: {{url: u}}}}]"
        );
        let faults = faults(&text);
        for field in [
            "spaces[1].id",
            "spaces[2].id",
            "spaces[3].model",
            "spaces[3].revision",
            "spaces[3].dimension",
            "spaces[3].threshold",
            "spaces[4]",
        ] {
            assert!(faults.contains(field), "{field}: {faults}");
        }
    }

    #[test]
    fn syntax_and_size_are_checked() {
        assert!(faults("spaces: []").contains("1 to 16"));
        assert!(faults("spaces: [{id: own}]").contains("model"));
        assert!(faults(&format!("spaces: [{MINIMAL}]\nmore: 1")).contains("more"));
        assert!(faults(&" ".repeat(BYTES + 1)).contains("65536 bytes"));
    }
}
