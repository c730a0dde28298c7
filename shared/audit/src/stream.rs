use futures::future::try_join_all;
use keyplane_valkey::{Key, StreamEntry, Valkey};

use crate::page::{Page, Position};

/// Stored entry that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(
    /// Kind of damage.
    pub &'static str,
);

/// Reads a page of a tenant's audit, newest first, over all `streams` that hold it. Always pass the streams in one order: page tokens
/// name them by index.
///
/// Reads up to `size` + 1 entries of each stream, since any may hold the newest. Dropping the future is safe.
///
/// # Errors
///
/// The store's, [`Damaged`] for a malformed id, or that of `decode`.
pub async fn newest<T, E>(
    valkey: &Valkey,
    streams: &[Key],
    size: u32,
    after: Option<Position>,
    decode: impl Fn(Position, &StreamEntry) -> Result<T, E>,
) -> Result<Page<T>, E>
where
    E: From<keyplane_valkey::Error> + From<Damaged>,
{
    let size = size.max(1) as usize;
    let reads = streams.iter().enumerate().map(async |(stream, key)| {
        let from = after.map_or_else(|| "+".to_owned(), |after| after.continues(stream));
        // One more than the page, to show whether more entries follow.
        let entries = valkey.xrevrange(key, &from, "-", size as u64 + 1).await?;
        let row = |entry: StreamEntry| {
            let position = Position::new(&entry.id, stream).ok_or(Damaged("the id of an audit entry is malformed"))?;
            Ok::<_, E>((position, entry))
        };
        entries.into_iter().map(row).collect::<Result<Vec<_>, E>>()
    });
    let mut rows: Vec<(Position, StreamEntry)> = try_join_all(reads).await?.into_iter().flatten().collect();
    rows.sort_unstable_by(|(a, _), (b, _)| Position::newest_first(a, b));
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|(position, _)| *position);
    let entries = rows.iter().map(|(position, entry)| decode(*position, entry)).collect::<Result<_, E>>()?;
    Ok(Page { entries, next })
}

/// Text of a field of an entry; `None` if the entry has no such field.
///
/// # Errors
///
/// [`Damaged`] if the value is not UTF-8.
pub fn text<'a>(entry: &'a StreamEntry, name: &str) -> Result<Option<&'a str>, Damaged> {
    let value = entry.fields.iter().find(|(field, _)| field.as_ref() == name.as_bytes());
    value
        .map(|(_, value)| std::str::from_utf8(value).map_err(|_| Damaged("a field of an audit entry is not UTF-8")))
        .transpose()
}
