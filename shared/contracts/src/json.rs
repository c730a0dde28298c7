//! Messages as JSON, by protobuf's own mapping: what the gateway prints, made here for streams whose bytes the gateway
//! passes on as they are; and field names in JSON's spelling, for messages about a request.

use std::collections::HashMap;
use std::sync::OnceLock;

use prost::{Message, Name};
use prost_reflect::DynamicMessage;

use crate::http::pool;

/// Prints a message in protobuf's JSON mapping, on one line, without fields that have their default value.
///
/// O(size), with one encoding and decoding on the way: for events, not for the hot path.
///
/// # Panics
///
/// Never for a message of this crate: its descriptor is in [`FILE_DESCRIPTOR_SET`](crate::FILE_DESCRIPTOR_SET).
#[must_use]
pub fn to_json<M: Message + Name>(message: &M) -> String {
    let descriptor = pool().get_message_by_name(&M::full_name()).expect("a message of these contracts");
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).expect("a message fits its own descriptor");
    serde_json::to_string(&dynamic).expect("a message has a JSON form")
}

/// Field path in JSON's spelling: `session.lastPath` for `session.last_path`.
///
/// Text in brackets is an index or a map key, and stays; so does a word that names no field of the contracts. Names after `fields.` are
/// those of a document, which callers choose, and stay too.
#[must_use]
pub fn field_path(path: &str) -> String {
    const ENDS: [char; 3] = ['.', '[', ']'];
    const CHOSEN: &str = "fields.";
    if let Some((before, chosen)) = path.split_once(CHOSEN) {
        return field_path(before) + CHOSEN + chosen;
    }
    let mut spelled = String::with_capacity(path.len());
    let mut in_brackets = false;
    for part in path.split_inclusive(ENDS) {
        let (name, end) = part.split_at(part.trim_end_matches(ENDS).len());
        spelled.push_str(if in_brackets { name } else { field_name(name) });
        spelled.push_str(end);
        in_brackets = end == "[" || in_brackets && end == ".";
    }
    spelled
}

/// Text with the field names between backticks in JSON's spelling.
#[must_use]
pub fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(place, part)| if place % 2 == 0 { part.to_owned() } else { field_path(part) });
    parts.collect::<Vec<_>>().join("`")
}

fn field_name(name: &str) -> &str {
    static SPELLED: OnceLock<HashMap<String, String>> = OnceLock::new();
    let spelled = SPELLED.get_or_init(|| {
        let ours = pool().all_messages().filter(|message| message.package_name().starts_with("keyplane."));
        let fields = ours.flat_map(|message| message.fields().collect::<Vec<_>>());
        fields.map(|field| (field.name().to_owned(), field.json_name().to_owned())).collect()
    });
    spelled.get(name).map_or(name, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::{field_path, prose, to_json};
    use crate::session::v1::{SessionEvent, session_event::Type};

    #[test]
    fn json_is_protobufs_mapping() {
        let event = SessionEvent { id: "5-1".into(), new_name: "n".into(), ..SessionEvent::default() };
        let mut event = event;
        event.set_type(Type::Rotated);
        assert_eq!(to_json(&event), r#"{"id":"5-1","type":"TYPE_ROTATED","newName":"n"}"#);
    }

    #[test]
    fn only_field_names_change_their_spelling() {
        for (path, spelled) in [
            ("parent", "parent"),
            ("session.last_path", "session.lastPath"),
            ("session.tokens[0].expire_time", "session.tokens[0].expireTime"),
            ("session.attributes[last_path]", "session.attributes[last_path]"),
            ("policy.tenant_limits[a.last_path].amount", "policy.tenantLimits[a.last_path].amount"),
            ("body.token_type_hint", "body.token_type_hint"),
            ("documents[2].fields.last_path", "documents[2].fields.last_path"),
            ("request_id.fields.page_size[0]", "requestId.fields.page_size[0]"),
            ("collection.fields[3].half_life", "collection.fields[3].halfLife"),
            ("", ""),
        ] {
            assert_eq!(field_path(path), spelled);
        }
        assert_eq!(
            prose("the policy api_key asks for `api_key`: see `update_mask` and `KEYPLANE_APP`"),
            "the policy api_key asks for `apiKey`: see `updateMask` and `KEYPLANE_APP`"
        );
    }
}
