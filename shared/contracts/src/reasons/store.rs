//! Reasons that concern the store behind a service.

use super::{Retry, after, register};

register! {
    STORE_UNAVAILABLE: Unavailable, after(500),
        "The store is down, cut off or slow; metadata `policy` names the rate limit that fails closed. With metadata \
         `outcome: unknown` a write may have happened: repeat only what is idempotent, or read first.";
    STORED_DATA_DAMAGED: Internal, Retry::Never,
        "The store holds a value that the service never writes. Report it with the trace id; the log has the cause.";
    STORE_LAYOUT_MISMATCH: FailedPrecondition, Retry::Never,
        "The store holds data of another version of the service, which ends with exit code 1. Operator: run the \
         version that wrote it, or migrate.";
    INDEX_NOT_READY: Unavailable, after(500),
        "The engine still builds the index of the collection in metadata `collection`, or of the space in metadata \
         `space`, e.g. after its restart. Retry.";
    ENGINE_FEATURE_MISSING: FailedPrecondition, Retry::Never,
        "The store lacks a command that the service needs. Operator: the log names the command, and an engine that \
         has it.";
}
