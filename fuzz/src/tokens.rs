//! Tokens that callers send back: cursors, freshness tokens, page tokens of lists.

use std::sync::LazyLock;

use keyplane_contracts::names::CollectionName;
use keyplane_contracts::page;
use keyplane_search::domain::cursor::{Cursor, CursorError, CursorKey, Cut, Fingerprint, Position, TierCut};
use keyplane_search::domain::freshness::Freshness;
use keyplane_search::domain::request::SearchRequest;

/// Collections of two tenants, and the fingerprints of the same search of them.
struct Fixture {
    collections: [CollectionName; 2],
    searches: [Fingerprint; 2],
    key: CursorKey,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let collections = ["acme", "bond"]
        .map(|tenant| CollectionName::parse(&format!("tenants/{tenant}/collections/tasks"), "name").expect("a name"));
    let searches = collections.each_ref().map(|name| Fingerprint::new(name, &SearchRequest::default()));
    Fixture { collections, searches, key: CursorKey::new(b"the key of every instance") }
});

/// Bytes from the front; zeros past the end.
struct Bytes<'a>(&'a [u8]);

/// Reads any text as each token, changes a token, and carries any position over.
pub(crate) fn run(data: &[u8]) {
    any_text(&String::from_utf8_lossy(data));
    let cursor = cursor(&mut Bytes(data));
    carries_over(&cursor);
    changed(&cursor, data);
}

fn any_text(text: &str) {
    let Fixture { collections: [own, other], searches: [search, _], key } = &*FIXTURE;
    assert_eq!(Cursor::decode(text, key, *search).err(), Some(CursorError::Forged), "nobody signed it");
    if let Ok(Some(freshness)) = Freshness::decode(text, own) {
        assert_eq!(freshness.encode(own), text);
        assert!(Freshness::decode(text, other).is_err(), "a token of two collections");
    }
    let position = |parent: &str| page::decode(text, parent, |position| Some(position.to_owned()));
    if let Ok(Some(read)) = position("tenants/acme") {
        assert_eq!(page::encode("tenants/acme", read), text);
        assert!(position("tenants/bond").is_err(), "a token of two parents");
    }
}

fn carries_over(cursor: &Cursor) {
    let Fixture { searches: [search, foreign], key, .. } = &*FIXTURE;
    let token = cursor.encode(key, *search);
    let read = Cursor::decode(&token, key, *search).expect("a token of this search");
    // Compared as tokens: a score may be no number.
    assert_eq!(read.encode(key, *search), token);
    assert_eq!(Cursor::decode(&token, key, *foreign).err(), Some(CursorError::Foreign), "another tenant's");
    let unknown = CursorKey::new(b"another key");
    assert_eq!(Cursor::decode(&token, &unknown, *search).err(), Some(CursorError::Forged));
}

/// Changes a byte of a token for each pair of `edits`, or cuts it.
fn changed(cursor: &Cursor, edits: &[u8]) {
    let Fixture { searches: [search, _], key, .. } = &*FIXTURE;
    let token = cursor.encode(key, *search);
    let mut bytes = token.clone().into_bytes();
    for edit in edits.chunks_exact(2).take(4) {
        let at = usize::from(edit[0]) % bytes.len();
        match edit[1] {
            0 => bytes.truncate(at.max(1)),
            bits => bytes[at] ^= bits,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    if text != token {
        assert_eq!(Cursor::decode(&text, key, *search).err(), Some(CursorError::Forged), "{text}");
    }
}

fn cursor(bytes: &mut Bytes<'_>) -> Cursor {
    let generation = u32::from_be_bytes(bytes.take());
    let revision = u64::from_be_bytes(bytes.take());
    let spread = u32::from_be_bytes(bytes.take());
    let [kind, count] = bytes.take();
    let position = if kind % 2 == 0 {
        let values = (0..count % 9).map(|_| Some(f64::from_be_bytes(bytes.take())).filter(|value| *value != 0.0));
        Position::Fields { values: values.collect(), spread, id: String::new() }
    } else {
        let (score, now) = (f64::from_be_bytes(bytes.take()), i64::from_be_bytes(bytes.take()));
        let cuts = (0..count % 9).map(|_| {
            let [tier, kind] = bytes.take();
            let limit: [u8; 8] = bytes.take();
            let cut = match kind % 3 {
                0 => Cut::None,
                1 => Cut::Spread(u32::from_be_bytes([limit[0], limit[1], limit[2], limit[3]])),
                _ => Cut::Number(f64::from_be_bytes(limit)),
            };
            TierCut { tier, cut }
        });
        Position::Score { score, now, cuts: cuts.collect(), spread, id: String::new() }
    };
    let rest = String::from_utf8_lossy(bytes.0);
    let last = rest[..rest.floor_char_boundary(128)].to_owned();
    let position = match position {
        Position::Fields { values, spread, .. } => Position::Fields { values, spread, id: last },
        Position::Score { score, now, cuts, spread, .. } => Position::Score { score, now, cuts, spread, id: last },
    };
    Cursor { generation, revision, position }
}

// === impl Bytes ===

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let length = N.min(self.0.len());
        let (front, rest) = self.0.split_at(length);
        taken[..length].copy_from_slice(front);
        self.0 = rest;
        taken
    }
}
