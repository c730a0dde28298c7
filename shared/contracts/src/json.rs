//! Messages as JSON, by protobuf's own mapping: what the gateway prints, made here for streams whose bytes the gateway
//! passes on as they are.

use prost::{Message, Name};
use prost_reflect::DynamicMessage;

use crate::http::pool;

/// The message in protobuf's JSON mapping, in one line, without fields that have their default value.
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

#[cfg(test)]
mod tests {
    use super::to_json;
    use crate::session::v1::{SessionEvent, session_event::Type};

    #[test]
    fn json_is_protobufs_mapping() {
        let event = SessionEvent { id: "5-1".into(), new_name: "n".into(), ..SessionEvent::default() };
        let mut event = event;
        event.set_type(Type::Rotated);
        assert_eq!(to_json(&event), r#"{"id":"5-1","type":"TYPE_ROTATED","newName":"n"}"#);
    }
}
