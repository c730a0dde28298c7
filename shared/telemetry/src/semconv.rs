//! Names of all attributes and metrics.
//!
//! Upstream names follow the current semantic conventions for RPC and databases (the ones with
//! `rpc.system.name` and `db.system.name`); our own names start with `keyplane.`.

// === Resource ===

/// Name of the program: `keyplane-<service>`.
pub const SERVICE_NAME: &str = "service.name";
/// Version of the program.
pub const SERVICE_VERSION: &str = "service.version";
/// Unique name of the process.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";

// === RPC ===

/// RPC system: [`RPC_SYSTEM_GRPC`].
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// Value of [`RPC_SYSTEM_NAME`] for gRPC.
pub const RPC_SYSTEM_GRPC: &str = "grpc";
/// Full name of the method: `keyplane.session.v1.SessionService/GetSession`, or [`RPC_METHOD_OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// Value for every method that this process does not serve, so that callers cannot invent names.
pub const RPC_METHOD_OTHER: &str = "_OTHER";
/// Name of the gRPC status: `OK`, `UNAVAILABLE`, ...
pub const RPC_STATUS_CODE: &str = "rpc.status_code";
/// Duration of a call at the server, in seconds, from its headers to its trailers.
pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";

// === Database ===

/// Database system: [`DB_SYSTEM_REDIS`], since Valkey speaks the Redis protocol, and the convention demands that value.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// Value of [`DB_SYSTEM_NAME`].
pub const DB_SYSTEM_REDIS: &str = "redis";
/// Command: `EVALSHA`, `HGETALL`, `PIPELINE`.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// Number of commands in a pipeline; set for two and more.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// Name of the Lua script.
pub const DB_STORED_PROCEDURE_NAME: &str = "db.stored_procedure.name";
/// Prefix of the server's error, such as `WRONGTYPE`.
pub const DB_RESPONSE_STATUS_CODE: &str = "db.response.status_code";
/// Duration of a store operation at the client, in seconds.
pub const DB_CLIENT_OPERATION_DURATION: &str = "db.client.operation.duration";

// === General ===

/// Class of the error: the name of a gRPC status, or a class of store error. Absent on success.
pub const ERROR_TYPE: &str = "error.type";
/// Host that a server listens on or a client calls.
pub const SERVER_ADDRESS: &str = "server.address";
/// Port that goes with [`SERVER_ADDRESS`].
pub const SERVER_PORT: &str = "server.port";

// === Keyplane's own ===

/// Feature of a store operation, such as `session`; store cost follows from commands by feature.
pub const KEYPLANE_FEATURE: &str = "keyplane.feature";
/// Number of calls in flight, streams included, by method.
pub const KEYPLANE_SERVER_IN_FLIGHT: &str = "keyplane.server.in_flight";
/// Number of commands sent to the store, by [`KEYPLANE_FEATURE`] and command.
pub const KEYPLANE_STORE_COMMANDS: &str = "keyplane.store.commands";
/// Number of the store's nodes whose breaker is open, so that calls fail at once; at most 1 where the store is one server.
pub const KEYPLANE_STORE_BREAKER_STATE: &str = "keyplane.store.breaker.state";
/// Number of reconnects to the store.
pub const KEYPLANE_STORE_RECONNECTS: &str = "keyplane.store.reconnects";
/// Number of connections to the store that were replaced because they answered late while a new one did not.
pub const KEYPLANE_STORE_LATE_CONNECTIONS: &str = "keyplane.store.late_connections";
/// Share of the cluster's slots whose node answers, 0 to 1.
pub const KEYPLANE_STORE_REACHABLE: &str = "keyplane.store.reachable";
/// Number of calls that were shed because the server had no room.
pub const KEYPLANE_SERVER_SHED: &str = "keyplane.server.shed";
/// Number of handlers that panicked.
pub const KEYPLANE_SERVER_PANICS: &str = "keyplane.server.panics";
/// Readiness: 1 while the process reports itself ready, else 0.
pub const KEYPLANE_SERVER_READY: &str = "keyplane.server.ready";
/// Preference of gateways: 1 while the process answers in full, else 0.
pub const KEYPLANE_SERVER_ANSWERING: &str = "keyplane.server.answering";

// === Revocation ===

/// Time from a revocation until an instance has applied it, in seconds, by the store's clock and the instance's.
pub const KEYPLANE_REVOCATION_PROPAGATION_DURATION: &str = "keyplane.revocation.propagation.duration";
/// Number of active tokens that a filter matched, and the store cleared.
pub const KEYPLANE_REVOCATION_FALSE_POSITIVES: &str = "keyplane.revocation.false_positives";
/// Number of checks that memory could not answer, by [`KEYPLANE_REVOCATION_SOURCE`] and [`KEYPLANE_REVOCATION_REASON`].
pub const KEYPLANE_REVOCATION_FALLBACKS: &str = "keyplane.revocation.fallbacks";
/// Source of the answer in place of memory: `store` or `policy`.
pub const KEYPLANE_REVOCATION_SOURCE: &str = "keyplane.revocation.source";
/// Cause for which memory could not answer: `cold`, `stale`, `doubt`, `min_sequence`, `max_staleness`, `suspect`.
pub const KEYPLANE_REVOCATION_REASON: &str = "keyplane.revocation.reason";
/// Number of revocations that the store had lost, and an instance restored.
pub const KEYPLANE_REVOCATION_REAPPENDED: &str = "keyplane.revocation.reappended";
/// Number of revocations of tokens that the store had lost, and an instance could not restore.
pub const KEYPLANE_REVOCATION_LOST: &str = "keyplane.revocation.lost";
/// Number of revocations in filters of which the store has lost some.
pub const KEYPLANE_REVOCATION_LOST_HELD: &str = "keyplane.revocation.lost.held";
/// Number of checks that were rejected since the store may have lost the token's revocation.
pub const KEYPLANE_REVOCATION_REFUSED_AFTER_LOSS: &str = "keyplane.revocation.refused_after_loss";
/// Number of gaps between the feed and the position that an instance had applied.
pub const KEYPLANE_REVOCATION_EPOCHS: &str = "keyplane.revocation.epochs";
/// Age of an instance's memory, in milliseconds. Absent while it is unknown.
pub const KEYPLANE_REVOCATION_REPLICA_AGE: &str = "keyplane.revocation.replica.age";
/// Number of revocations in an instance's memory.
pub const KEYPLANE_REVOCATION_REPLICA_ENTRIES: &str = "keyplane.revocation.replica.entries";
/// Size of the revocations in memory, in bytes.
pub const KEYPLANE_REVOCATION_REPLICA_SIZE: &str = "keyplane.revocation.replica.size";
/// Rejection of the key set's file: 1 while the previous keys are in force, else 0.
pub const KEYPLANE_REVOCATION_KEY_SET_REFUSED: &str = "keyplane.revocation.key_set.refused";
/// Time by which an instance's clock is ahead of the store's, in milliseconds.
pub const KEYPLANE_REVOCATION_CLOCK_AHEAD: &str = "keyplane.revocation.clock.ahead";

// === Rate limiting ===

/// Number of decisions, by [`KEYPLANE_RATELIMIT_POLICY`] and [`KEYPLANE_RATELIMIT_OUTCOME`].
pub const KEYPLANE_RATELIMIT_DECISIONS: &str = "keyplane.ratelimit.decisions";
/// Id of a policy.
pub const KEYPLANE_RATELIMIT_POLICY: &str = "keyplane.ratelimit.policy";
/// Outcome of a decision: `admitted`, `denied`, `shadow_denied`, or a special case of these.
///
/// `denied_from_cache` is denied without the store; `store_away` is decided by an outage policy; `leased` is admitted from a
/// lease, which bounds over-admission.
pub const KEYPLANE_RATELIMIT_OUTCOME: &str = "keyplane.ratelimit.outcome";
/// Number of Envoy descriptors without a policy.
pub const KEYPLANE_RATELIMIT_UNMATCHED: &str = "keyplane.ratelimit.unmatched";
/// Number of full buckets that an instance remembers.
pub const KEYPLANE_RATELIMIT_DENIALS: &str = "keyplane.ratelimit.denials";
/// Revision of the policies that an instance knows.
pub const KEYPLANE_RATELIMIT_POLICIES_VERSION: &str = "keyplane.ratelimit.policies.version";
/// State of the policies file: 1 while it is rejected and the earlier policies are in force, else 0.
pub const KEYPLANE_RATELIMIT_POLICY_FILE_REFUSED: &str = "keyplane.ratelimit.policy_file.refused";

// === Search: lexicons ===

/// Bytes of the lexicons in an instance's memory.
pub const KEYPLANE_SEARCH_LEXICON_SIZE: &str = "keyplane.search.lexicon.size";
/// Number of lexicons that were loaded, merged or evicted, by [`KEYPLANE_SEARCH_LEXICON_EVENT`].
pub const KEYPLANE_SEARCH_LEXICON_EVENTS: &str = "keyplane.search.lexicon.events";
/// Event of a lexicon: `loaded`, `merged` or `evicted`.
pub const KEYPLANE_SEARCH_LEXICON_EVENT: &str = "keyplane.search.lexicon.event";
/// Time since a search's lexicon was read from its log, in seconds.
pub const KEYPLANE_SEARCH_LEXICON_LAG: &str = "keyplane.search.lexicon.lag";

// === Search ===

/// Duration of searches, in seconds, by [`KEYPLANE_SEARCH_PLAN`].
pub const KEYPLANE_SEARCH_DURATION: &str = "keyplane.search.duration";
/// Number of documents that the engine loaded for searches, by [`KEYPLANE_SEARCH_PLAN`].
pub const KEYPLANE_SEARCH_LOADED: &str = "keyplane.search.loaded";
/// Number of searches with more matches than were ranked.
pub const KEYPLANE_SEARCH_CAPPED: &str = "keyplane.search.capped";
/// Kind of a search's plan: `direct`, `windows`, `tiers`, `counts` or `nothing`.
pub const KEYPLANE_SEARCH_PLAN: &str = "keyplane.search.plan";
// === Maintenance of search ===

/// Number of rebuilds that ended, by [`KEYPLANE_SEARCH_OUTCOME`].
pub const KEYPLANE_SEARCH_REBUILDS: &str = "keyplane.search.rebuilds";
/// Outcome of a rebuild: `done`, `failed`.
pub const KEYPLANE_SEARCH_OUTCOME: &str = "keyplane.search.outcome";
/// Number of counters and term frequencies that had drifted from the documents, and were mended.
pub const KEYPLANE_SEARCH_DRIFT: &str = "keyplane.search.drift";
/// Number of expired documents that were removed.
pub const KEYPLANE_SEARCH_EXPIRED: &str = "keyplane.search.expired";
/// Number of indexes of the store.
pub const KEYPLANE_SEARCH_INDEXES: &str = "keyplane.search.indexes";
/// State of the store's eviction: 1 if it evicts documents when its memory is full, else 0.
pub const KEYPLANE_SEARCH_EVICTING: &str = "keyplane.search.evicting";
/// Number of memories that the service removed, by [`KEYPLANE_MEMORY_REASON`].
pub const KEYPLANE_MEMORY_REMOVED: &str = "keyplane.memory.removed";
/// Reason of a removal: `expired`, `evicted`.
pub const KEYPLANE_MEMORY_REASON: &str = "keyplane.memory.reason";
/// Number of items, postings and counters that had drifted from the memories, and were mended.
pub const KEYPLANE_MEMORY_DRIFT: &str = "keyplane.memory.drift";
