//! SQLite's FTS5, ordered by its BM25 with the fields' weights.

use rusqlite::{Connection, params_from_iter};

use super::HITS;
use super::data::{Data, Query};
use crate::Error;

/// Answers from a database in memory: the Porter stemmer, diacritics removed, all words required. In the class `prefix` the last
/// word is a prefix.
pub(super) fn answer(data: &Data) -> Result<Vec<Vec<String>>, Error> {
    let mut database = Connection::open_in_memory()?;
    let columns: Vec<&str> = data.set.fields.iter().map(|field| field.name).collect();
    let columns = columns.join(", ");
    database.execute_batch(&format!(
        "CREATE VIRTUAL TABLE documents USING fts5(id UNINDEXED, {columns}, tokenize = \"porter unicode61 remove_diacritics 2\")"
    ))?;
    let write = database.transaction()?;
    {
        let marks = vec!["?"; data.set.fields.len() + 1].join(", ");
        let mut insert = write.prepare(&format!("INSERT INTO documents (id, {columns}) VALUES ({marks})"))?;
        for document in &data.documents {
            let texts = data.set.fields.iter().map(|field| document.text(field.name));
            insert.execute(params_from_iter(std::iter::once(document.id.as_str()).chain(texts)))?;
        }
    }
    write.commit()?;
    let weights: Vec<String> = data.set.fields.iter().map(|field| field.weight.to_string()).collect();
    let mut search = database.prepare(&format!(
        "SELECT id FROM documents WHERE documents MATCH ? ORDER BY bm25(documents, 0.0, {}), id LIMIT {HITS}",
        weights.join(", ")
    ))?;
    let mut answers = Vec::with_capacity(data.queries.len());
    for query in &data.queries {
        let found = search.query_map([expression(query)], |row| row.get::<_, String>(0))?;
        answers.push(found.collect::<Result<_, _>>()?);
    }
    Ok(answers)
}

/// Words as FTS5 strings, which it analyses itself.
fn expression(query: &Query) -> String {
    let words: Vec<String> =
        query.query.split_whitespace().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    words.join(" ") + if query.is_prefix() { "*" } else { "" }
}
