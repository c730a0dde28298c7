//! Reasons of the agent-memory service.

use super::{Retry, after, register};

register! {
    MEMORY_NOT_FOUND: NotFound, Retry::Never,
        "The memory in metadata `memory` does not exist, or has expired. An update never creates one: remember it.";
    ERASURE_NOT_FOUND: NotFound, Retry::Never,
        "The erasure in metadata `erasure` does not exist, or its receipt has expired.";
    MEMORY_SUPERSEDED: FailedPrecondition, Retry::Never,
        "The memory in metadata `memory` is history: change the one in metadata `superseded_by`.";
    UNKNOWN_SPACE: FailedPrecondition, Retry::Never,
        "The operator declared no space of the name in metadata `space`: leave `space` out for the default. Operator: \
         `KEYPLANE_MEMORY_SPACES_FILE`.";
    VECTOR_REQUIRED: FailedPrecondition, Retry::Never,
        "The space in metadata `space` embeds no texts: send a vector with each text. Operator: give the space an \
         embedder.";
    EMBEDDER_UNAVAILABLE: Unavailable, after(500),
        "The embedder of the space in metadata `space` fails, or answers too late. Nothing was written; retry.";
    RECALLED_TEXT: FailedPrecondition, Retry::Never,
        "The text came out of a Recall: the service knows it already. Remember only what is new.";
    OWNER_FULL: ResourceExhausted, Retry::Never,
        "The owner has as many memories as it may, metadata `max_memories`, and all of them are pinned: forget or unpin \
         some. Operator: `KEYPLANE_MEMORY_MAX_MEMORIES`.";
}
