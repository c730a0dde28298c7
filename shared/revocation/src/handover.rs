//! Handover of a partition's tokens between replicas, after the store lost revocations.

use crate::time::Millis;

/// Filters of a partition of which the store lost revocations, and its undone tokens, for replicas that never knew
/// them. Some 4 bytes a revoked token, 9 where there are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Input of [`Replica::take_over`](crate::Replica::take_over).
    pub bytes: Vec<u8>,
    /// Moment at which all the tokens have expired, so that nobody needs it.
    pub until: Millis,
}

/// First byte: the form of the bytes after it.
const FORM: u8 = 1;

/// Writer of bytes and little-endian numbers.
pub(crate) struct Writer(Vec<u8>);

/// Reader of a [`Writer`]'s bytes; `None` for bytes of another origin.
pub(crate) struct Reader<'a>(&'a [u8]);

// === impl Writer ===

impl Writer {
    pub(crate) fn new() -> Self {
        Self(vec![FORM])
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        // Bytes of another form can't be read.
        Self(bytes.strip_prefix(&[FORM]).unwrap_or_default())
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn size(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
