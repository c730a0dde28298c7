//! Syntax of the spaces file.

use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::SnippetMode;

/// Whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) spaces: Vec<Row>,
}

/// Space.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) revision: String,
    pub(super) dimension: u16,
    #[serde(default)]
    pub(super) pooling: Pooling,
    #[serde(default)]
    pub(super) query_prefix: String,
    #[serde(default)]
    pub(super) passage_prefix: String,
    pub(super) threshold: Option<f32>,
    #[serde(default)]
    pub(super) algorithm: Algorithm,
    pub(super) local: Option<Local>,
    pub(super) http: Option<Http>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pooling {
    #[default]
    Mean,
    First,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Flat,
    #[default]
    Hnsw,
}

/// Model on this machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Local {
    pub(super) folder: PathBuf,
}

/// Endpoint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) url: String,
    pub(super) key_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) send_dimensions: bool,
}

/// Parses the syntax.
///
/// # Errors
///
/// First error, with its line and column.
pub(super) fn read(text: &str) -> Result<File, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        // One line suits the log; the file itself has the context.
        let formatter = serde_saphyr::UserMessageFormatter;
        let options = serde_saphyr::render_options! { formatter: &formatter, snippets: SnippetMode::Off };
        error.render_with_options(options)
    })
}
