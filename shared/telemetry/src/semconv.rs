//! The name of every attribute and metric, in one place.
//!
//! Upstream names follow the current semantic conventions for RPC and databases (the ones with
//! `rpc.system.name` and `db.system.name`); names of our own start with `keyplane.`.

// === Resource ===

/// The program, as `keyplane-<service>`.
pub const SERVICE_NAME: &str = "service.name";
/// Version of the program.
pub const SERVICE_VERSION: &str = "service.version";
/// Unlike in any two processes that run at the same time.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";

// === RPC ===

/// Always [`RPC_SYSTEM_GRPC`] here.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// The value of [`RPC_SYSTEM_NAME`] for gRPC.
pub const RPC_SYSTEM_GRPC: &str = "grpc";
/// Fully qualified: `keyplane.session.v1.SessionService/GetSession`, or [`RPC_METHOD_OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// Stands for every method that this process does not serve, so that callers cannot make up names.
pub const RPC_METHOD_OTHER: &str = "_OTHER";
/// The gRPC status in words: `OK`, `UNAVAILABLE`, ...
pub const RPC_STATUS_CODE: &str = "rpc.status_code";
/// Duration of a call as the server sees it, in seconds, from its headers to its trailers.
pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
/// Duration of a call as the client sees it, in seconds.
pub const RPC_CLIENT_CALL_DURATION: &str = "rpc.client.call.duration";

// === Database ===

/// Always [`DB_SYSTEM_REDIS`]: Valkey speaks the Redis protocol, and the convention demands that value.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// The value of [`DB_SYSTEM_NAME`].
pub const DB_SYSTEM_REDIS: &str = "redis";
/// The command: `EVALSHA`, `HGETALL`, `PIPELINE`.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// Number of commands in a pipeline; only set for two and more.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// Name of the Lua script.
pub const DB_STORED_PROCEDURE_NAME: &str = "db.stored_procedure.name";
/// Prefix of the error that the server answered, such as `WRONGTYPE`.
pub const DB_RESPONSE_STATUS_CODE: &str = "db.response.status_code";
/// Duration of a store operation as the client sees it, in seconds.
pub const DB_CLIENT_OPERATION_DURATION: &str = "db.client.operation.duration";

// === General ===

/// What went wrong: a gRPC status in words, or a class of store error. Absent on success.
pub const ERROR_TYPE: &str = "error.type";
/// Host that a server listens on or a client calls.
pub const SERVER_ADDRESS: &str = "server.address";
/// Port that goes with [`SERVER_ADDRESS`].
pub const SERVER_PORT: &str = "server.port";

// === Keyplane's own ===

/// Feature that a store operation belongs to, such as `session`; commands by feature are what store cost follows from.
pub const KEYPLANE_FEATURE: &str = "keyplane.feature";
/// Calls being served right now (streams included), by method.
pub const KEYPLANE_SERVER_IN_FLIGHT: &str = "keyplane.server.in_flight";
/// Commands sent to the store, by [`KEYPLANE_FEATURE`] and command.
pub const KEYPLANE_STORE_COMMANDS: &str = "keyplane.store.commands";
/// Nodes of the store whose breaker fails calls at once; 0 while all is well, at most 1 where the store is one server.
pub const KEYPLANE_STORE_BREAKER_STATE: &str = "keyplane.store.breaker.state";
/// Connections to the store that were made again after one was lost.
pub const KEYPLANE_STORE_RECONNECTS: &str = "keyplane.store.reconnects";
/// Connections to the store that were replaced because they answered late while a new one did not.
pub const KEYPLANE_STORE_LATE_CONNECTIONS: &str = "keyplane.store.late_connections";
/// Share of the slots of the store's cluster whose node answers, 0 to 1.
pub const KEYPLANE_STORE_REACHABLE: &str = "keyplane.store.reachable";
/// Calls turned away because the server had no room.
pub const KEYPLANE_SERVER_SHED: &str = "keyplane.server.shed";
/// Handlers that panicked.
pub const KEYPLANE_SERVER_PANICS: &str = "keyplane.server.panics";
/// 1 while the process reports itself ready, else 0.
pub const KEYPLANE_SERVER_READY: &str = "keyplane.server.ready";
/// 1 while calls should come to the process rather than to another instance, else 0.
pub const KEYPLANE_SERVER_ANSWERING: &str = "keyplane.server.answering";

// === Revocation ===

/// Time from a revocation until an instance has applied it, in seconds; by the store's clock and the instance's.
pub const KEYPLANE_REVOCATION_PROPAGATION_DURATION: &str = "keyplane.revocation.propagation.duration";
/// Good tokens that a filter held, until the store was asked.
pub const KEYPLANE_REVOCATION_FALSE_POSITIVES: &str = "keyplane.revocation.false_positives";
/// Checks that memory could not answer, by [`KEYPLANE_REVOCATION_SOURCE`] and [`KEYPLANE_REVOCATION_REASON`].
pub const KEYPLANE_REVOCATION_FALLBACKS: &str = "keyplane.revocation.fallbacks";
/// Who answered in place of memory: `store` or `policy`.
pub const KEYPLANE_REVOCATION_SOURCE: &str = "keyplane.revocation.source";
/// Why memory could not: `cold`, `stale`, `doubt`, `min_sequence`, `max_staleness`, `suspect`.
pub const KEYPLANE_REVOCATION_REASON: &str = "keyplane.revocation.reason";
/// Revocations that the store had lost, and an instance gave back.
pub const KEYPLANE_REVOCATION_REAPPENDED: &str = "keyplane.revocation.reappended";
/// Revocations of tokens that the store had lost, and an instance could not give back.
pub const KEYPLANE_REVOCATION_LOST: &str = "keyplane.revocation.lost";
/// Revocations in filters of which the store has lost some.
pub const KEYPLANE_REVOCATION_LOST_HELD: &str = "keyplane.revocation.lost.held";
/// Checks that were refused since the store may have lost the token's revocation.
pub const KEYPLANE_REVOCATION_REFUSED_AFTER_LOSS: &str = "keyplane.revocation.refused_after_loss";
/// Times that the feed did not go on from what an instance had applied.
pub const KEYPLANE_REVOCATION_EPOCHS: &str = "keyplane.revocation.epochs";
/// Age of an instance's memory, in milliseconds. Absent while it can't be said.
pub const KEYPLANE_REVOCATION_REPLICA_AGE: &str = "keyplane.revocation.replica.age";
/// Revocations in an instance's memory.
pub const KEYPLANE_REVOCATION_REPLICA_ENTRIES: &str = "keyplane.revocation.replica.entries";
/// Bytes that they take.
pub const KEYPLANE_REVOCATION_REPLICA_SIZE: &str = "keyplane.revocation.replica.size";
/// Milliseconds by which an instance's clock is ahead of the store's.
pub const KEYPLANE_REVOCATION_CLOCK_AHEAD: &str = "keyplane.revocation.clock.ahead";

// === Rate limiting ===

/// What policies said of calls, by [`KEYPLANE_RATELIMIT_POLICY`] and [`KEYPLANE_RATELIMIT_OUTCOME`].
pub const KEYPLANE_RATELIMIT_DECISIONS: &str = "keyplane.ratelimit.decisions";
/// A policy's id, which an operator chose.
pub const KEYPLANE_RATELIMIT_POLICY: &str = "keyplane.ratelimit.policy";
/// `admitted`, `denied`, `shadow_denied`; `denied_from_cache` are those among `denied` that no store was asked for; `store_away`
/// those that an outage policy answered; `leased` what was admitted from a lease, which bounds over-admission.
pub const KEYPLANE_RATELIMIT_OUTCOME: &str = "keyplane.ratelimit.outcome";
/// Descriptors of Envoy that no policy is for.
pub const KEYPLANE_RATELIMIT_UNMATCHED: &str = "keyplane.ratelimit.unmatched";
/// Full buckets that an instance remembers.
pub const KEYPLANE_RATELIMIT_DENIALS: &str = "keyplane.ratelimit.denials";
/// Version of the policies that an instance knows.
pub const KEYPLANE_RATELIMIT_POLICIES_VERSION: &str = "keyplane.ratelimit.policies.version";
/// 1 while the policy file is refused, so that the policies before it are in force, else 0.
pub const KEYPLANE_RATELIMIT_POLICY_FILE_REFUSED: &str = "keyplane.ratelimit.policy_file.refused";
