//! FT.SEARCH of the local engine over the raw texts, in the order in which it answers.

use keyplane_engine::{Reply, Toolbox, Valkey};

use super::HITS;
use super::data::{Data, Document, Query};
use crate::Error;

/// Documents of one script call.
const CHUNK: usize = 200;
/// Script that writes documents: key, number of fields, then names and values.
const WRITE: &str = "local at = 1
while at <= #ARGV do
  local count = tonumber(ARGV[at + 1]) * 2
  redis.call('HSET', ARGV[at], unpack(ARGV, at + 2, at + 1 + count))
  at = at + 2 + count
end";
/// Letters from which a word of the class `typo` is also searched with one edit.
const FUZZY: usize = 5;

/// Answers of an index of its own: all words required. In the class `prefix` the last word is a prefix; in the class `typo`
/// longer words are fuzzy, since the engine finds none otherwise.
pub(super) fn answer(data: &Data) -> Result<Vec<Vec<String>>, Error> {
    let valkey = Valkey::builder(&Toolbox::find()).modules(true).start()?;
    let weights: Vec<String> = data.set.fields.iter().map(|field| field.weight.to_string()).collect();
    let mut create = vec!["FT.CREATE", "raw", "ON", "HASH", "PREFIX", "1", "d:", "STOPWORDS", "0", "SCHEMA"];
    for (field, weight) in data.set.fields.iter().zip(&weights) {
        create.extend([field.name, "TEXT", "WEIGHT", weight]);
    }
    check(&valkey.command(&create)?)?;
    for chunk in data.documents.chunks(CHUNK) {
        let arguments: Vec<String> = chunk.iter().flat_map(|document| write(data, document)).collect();
        let command: Vec<&str> = ["EVAL", WRITE, "0"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        check(&valkey.command(&command)?)?;
    }
    let limit = HITS.to_string();
    let mut answers = Vec::with_capacity(data.queries.len());
    for query in &data.queries {
        let text = expression(query);
        let reply = valkey.command(&["FT.SEARCH", "raw", &text, "NOCONTENT", "LIMIT", "0", &limit])?;
        check(&reply)?;
        let Reply::Array(items) = &reply else { return Err(format!("FT.SEARCH answered {reply:?}").into()) };
        let ids = items.iter().filter_map(Reply::text).filter_map(|key| key.strip_prefix("d:"));
        answers.push(ids.map(str::to_owned).collect());
    }
    Ok(answers)
}

fn check(reply: &Reply) -> Result<(), Error> {
    if let Reply::Error(text) = reply { Err(text.clone().into()) } else { Ok(()) }
}

/// Arguments of a document.
fn write(data: &Data, document: &Document) -> Vec<String> {
    let fields = data.set.fields.iter();
    let pairs: Vec<String> =
        fields.flat_map(|field| [field.name.to_owned(), document.text(field.name).to_owned()]).collect();
    [vec![format!("d:{}", document.id), data.set.fields.len().to_string()], pairs].concat()
}

/// Words, split at what the engine takes for a break.
fn expression(query: &Query) -> String {
    let text = query.query.to_lowercase();
    let words: Vec<&str> =
        text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let last = words.len().saturating_sub(1);
    let word = |(at, word): (usize, &&str)| {
        if query.is_prefix() && at == last {
            format!("{word}*")
        } else if query.is_typo() && word.chars().count() >= FUZZY {
            format!("({word}|%{word}%)")
        } else {
            (*word).to_owned()
        }
    };
    let words: Vec<String> = words.iter().enumerate().map(word).collect();
    words.join(" ")
}
