//! Fingerprint of a request that carries a `request_id`.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use keyplane_contracts::names::Id;
use keyplane_contracts::session::v1 as pb;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::domain::Request;

/// Bytes that equal requests have in common.
pub(super) trait Canonical {
    /// Encoded message. Maps are sorted: their order on the wire is not fixed.
    fn canonical(&self) -> Vec<u8>;
}

/// Identity of a request under `id`: the id and 128 bits of a hash of the method and the whole request.
pub(super) fn request(method: &str, id: Option<Id>, message: &impl Canonical) -> Option<Request> {
    id.map(|id| {
        let digest = Sha256::new_with_prefix(method).chain_update(message.canonical()).finalize();
        Request { id, fingerprint: BASE64URL_NOPAD.encode(&digest[..16]) }
    })
}

impl Canonical for pb::CreateSessionRequest {
    fn canonical(&self) -> Vec<u8> {
        let mut plain = self.clone();
        let attributes = plain.session.as_mut().map(|session| std::mem::take(&mut session.attributes));
        let mut bytes = plain.encode_to_vec();
        for (key, value) in attributes.into_iter().flatten().collect::<BTreeMap<_, _>>() {
            for text in [key, value] {
                bytes.extend(text.len().to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
        bytes
    }
}

impl Canonical for pb::RotateSessionRequest {
    fn canonical(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
