"""Findings of the fuzzer that are intended, each with its reason. Any other finding fails the run.

`code` is the check (`schemathesis explain ST202`), `operations` the operationIds. `rule` matches the whole finding: each violation of
a rejection as `field: rule` (or else `REASON: message`), the part of the schema that an accepted request breaks, or the failure's
message. `sent` is found in the request's URL and body, `answer` in the answer's body. All are regular expressions.
"""

from typing import NamedTuple

ACCEPTED = "ST201"  # the schema forbids the request, and the service accepts it
REJECTED = "ST202"  # the schema allows the request, and the service rejects it
EVENT = "ST108"  # an event does not match the schema
METHOD = "ST204"  # an undocumented method is not answered with 405


class Known(NamedTuple):
    code: str
    operations: str
    rule: str
    reason: str
    sent: str = ""
    answer: str = ""


CHARGES = "Acquire|Explain|Peek|Reserve|Reset"
POLICY_WRITES = "CreatePolicy|UpdatePolicy(ByPost)?"
REVOCATIONS = "Revoke(Token|Session|Subject|Client|Key|Tenant)|BatchRevoke"
TOKEN = r"(requests\[\d+\]\.token\.)?"
COLLECTION_WRITES = "(Create|Update)Collection(ByPost)?"
DOCUMENT_WRITES = "UpsertDocument|UpdateDocument(ByPost)?|BatchUpsertDocuments"
SEARCHES = "SearchDocuments(ByGet)?"
LIMIT = r"policy\.(limit|(plan|tenant)Limits\[.*\])"

# Reasons that several entries share.
HANDLE = "only the service can make one"
TWO_FIELDS = "a rule about two fields"
MODE = "it depends on the mode of the limit"
TIME = "OpenAPI has no bounds for times"
SCHEMA = "the schema of the collection decides"
KEY = "OpenAPI 3.0 has no patterns for keys of maps"
PROTO_JSON = "protobuf's JSON allows it"

KNOWN = [
    # Handles.
    Known(REJECTED, "Refund", r"charge: must be the charge that Acquire returned for this tenant; \d+ bytes were sent", HANDLE),
    Known(REJECTED, "Refund", r"cost: only \d+ of this charge can still be refunded.*", HANDLE),
    Known(REJECTED, "Commit|Cancel", r"reservation: must be the reservation that Reserve returned for this tenant; \d+ bytes were sent", HANDLE),
    Known(REJECTED, "Check|BatchCheck", r"minSequence: must be the sequence of a revocation; \d+ bytes were sent", HANDLE),
    Known(REJECTED, "WaitForPropagation", r"sequence: must be the sequence of a revocation; \d+ bytes were sent", HANDLE),
    Known(REJECTED, SEARCHES, "(pageToken|freshnessToken): must be .*", HANDLE),
    Known(REJECTED, "List.*", r"pageToken: must be the `nextPageToken` of a page( of the same parent)?", HANDLE),
    Known(REJECTED, "RevokeToken|BatchRevoke", TOKEN + r"token: must be a JWT of at most \d+ bytes; \d+ bytes were sent", HANDLE),
    # State.
    Known(REJECTED, "Acquire|Reserve|CreateSession|RotateSession", "REQUEST_ID_REUSED: .*", "the fuzzer uses a request id for two requests"),
    Known(REJECTED, "(Update|Delete)Policy(ByPost)?", "POLICY_FROM_FILE: .*", "the policy of the examples comes from a file", sent="/v1/policies/llm-tokens"),
    Known(REJECTED, CHARGES, r"user: policy llm-tokens needs `user`, which is missing", "the named policy needs the field"),
    Known(REJECTED, "(Update|Delete)(Session|Policy|Collection|Document)(ByPost)?", "if-match: must be one strong tag, .*", "the fuzzer sends an empty header, which the pattern forbids"),
    Known(REJECTED, "(Update|Delete)Session(ByPost)?", r"if-match: must be the version of the session, .*", "a strong tag that is no version"),
    Known(REJECTED, "RollbackCollection", "ROLLBACK_IMPOSSIBLE: .*", "the collection has no rebuild"),
    Known(REJECTED, COLLECTION_WRITES, "REBUILD_RUNNING: .*", "the call before changed the fields"),
    Known(REJECTED, "Commit|Cancel", "ALREADY_SETTLED: .*", "the fuzzer settles one reservation twice"),
    # The fuzzer takes the entries of a policy for its id: a link between operations that it guesses.
    Known(REJECTED, "(Get|Update|Delete)Policy(ByPost)?", r"(policy\.)?name: the policy id must match .*", "not an id", sent="/v1/policies/%5B"),
    Known(REJECTED, "(Get|Update|Delete)Policy(ByPost)?", r"INVALID_REQUEST: the path must not hold an escaped slash.*", "not an id", sent="/v1/policies/%5B"),
    # Rules about several fields.
    Known(REJECTED, POLICY_WRITES, LIMIT + r": takes no amount, period or burst in the mode (block|unlimited)", MODE),
    Known(REJECTED, POLICY_WRITES, LIMIT + r"\.amount: must be positive; .*", MODE),
    Known(REJECTED, POLICY_WRITES, LIMIT + r"\.period: must be 1 second to 31 days; .* was sent", MODE),
    Known(REJECTED, POLICY_WRITES, LIMIT + r"\.burst: must leak away within .*", TWO_FIELDS),
    Known(REJECTED, POLICY_WRITES, r"policy\.lease: (must be at most the smallest burst; \d+ was sent|can't be combined with `postCharge`)", TWO_FIELDS),
    Known(REJECTED, "CreatePolicy", r"policy\.entries\[\d+\]\.key: must not be given twice", TWO_FIELDS),
    Known(REJECTED, "CreatePolicy", r"policy\.(plan|tenant)Limits: need an entry with the key tenant", TWO_FIELDS),
    Known(REJECTED, "Acquire", "ttl: needs a `requestId`.*", TWO_FIELDS),
    Known(REJECTED, "BatchRevoke", r"requests\[\d+\]\.\w+\.parent: must be empty, or the parent of the batch", TWO_FIELDS),
    Known(REJECTED, "RevokeAllSessions", "keepSession: must be a session of the same user", TWO_FIELDS),
    Known(REJECTED, "RevokeToken|BatchRevoke", TOKEN + "(issuer|jti): must be set", "a token is named by issuer and jti, or by itself"),
    Known(REJECTED, "UpdatePolicy(ByPost)?", r"policy\.limit: must be set", "the mask names a field that the body lacks", sent=r"updateMask=[^&\n]*limit"),
    Known(REJECTED, "(Update|Delete)Policy(ByPost)?", r"(policy\.)?etag: must be empty or equal to the header if-match", TWO_FIELDS),
    Known(REJECTED, "UpdateSession(ByPost)?", r"(session\.)?version: must agree with the other version sent, .*", TWO_FIELDS),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session\.tokens\[\d+\]: the same issuer and jti were sent before", "a rule about two items"),
    Known(REJECTED, "(Update|Delete)(Collection|Document)(ByPost)?", r"((collection|document)\.)?etag: must agree with the header If-Match", TWO_FIELDS),
    Known(REJECTED, COLLECTION_WRITES, r"collection\.fields: must (be 1 to 64 fields; 0 were sent|have at most 16 TEXT fields.*)", "the mask names a field that the body lacks, or a rule about several items"),
    Known(REJECTED, COLLECTION_WRITES, r"collection\.fields\[\d+\]\.(name|type|weight|language|sortable|facet): must .*", TWO_FIELDS),
    Known(REJECTED, COLLECTION_WRITES, r"collection\.rankBy\.(field|mode|halfLife): must .*", TWO_FIELDS),
    Known(REJECTED, DOCUMENT_WRITES, r"document(s\[\d+\])?\.ttl: must not be set beside `expireTime`", TWO_FIELDS),
    Known(REJECTED, DOCUMENT_WRITES, r"document(s\[\d+\])?\.(documentId|name): must be .*", TWO_FIELDS),
    Known(REJECTED, DOCUMENT_WRITES, r"documents\[\d+\]\.documentId: the id must match .*, and is empty", TWO_FIELDS),
    Known(REJECTED, DOCUMENT_WRITES + "|DeleteDocument", r"(document(s\[\d+\])?\.)?sourceVersion: must be a whole number from 0, below 2\^53", "OpenAPI's `number` has fractions"),
    Known(REJECTED, SEARCHES, "pageToken: must not be set beside `omitHits`", TWO_FIELDS),
    Known(REJECTED, SEARCHES, r"orderBy: part \d names \w+ again", "a rule about two items"),
    # The schema of the collection, and the language of filters.
    Known(REJECTED, DOCUMENT_WRITES, r"document(s\[\d+\])?\.fields\b.*", SCHEMA),
    Known(REJECTED, SEARCHES, r"(queryFields|highlight\.fields|fields|orderBy): \".*\" must be .* of the schema", SCHEMA),
    Known(REJECTED, SEARCHES, r"facets\[\d+\]\.\w+(\[\d+\])?: .*", SCHEMA),
    Known(REJECTED, SEARCHES, r"filter: position \d+: .*", "the language of filters has no pattern"),
    Known(REJECTED, SEARCHES, r"query: (must have at most \d+ words; got \d+|has too many words .*|the schema has no text field.*)", "words are counted by the analyser"),
    # Times, keys, and lengths in bytes.
    Known(REJECTED, DOCUMENT_WRITES, r"document(s\[\d+\])?\.expireTime: must be (in the future, at most 10 years ahead|a time between .*)", TIME),
    Known(REJECTED, DOCUMENT_WRITES, r"documents?(\[\d+\])?: must be at most \d+ bytes; \d+ were sent", "OpenAPI has no bound for a whole body"),
    Known(ACCEPTED, "SearchDocumentsByGet", "parameter `\\w+` in query - violates `maxLength` .*", "Envoy rejects the URL before it is read: 431", sent="%[0-9A-F]{2}"),
    Known("ST109", "SearchDocumentsByGet", ".*", "Envoy rejects the URL before it is read: 431", sent="%[0-9A-F]{2}"),
    Known("ST104", "SearchDocumentsByGet", ".*", "Envoy rejects the URL before it is read: 431", sent="%[0-9A-F]{2}"),
    Known(REJECTED, "Check|BatchCheck|" + REVOCATIONS, r".*[tT]ime: must be a time between the years \d+ and \d+", TIME),
    Known(REJECTED, REVOCATIONS, r".*expireTime: must be at most \d+ (days|s) from now", TIME),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session\.tokens\[\d+\]\.expireTime: must be in the future, by the store's clock", TIME),
    Known(REJECTED, REVOCATIONS, r".*cutoffTime: must not be in the future, by the store's clock", TIME),
    Known(REJECTED, CHARGES, r"descriptors: a key must have \d+ to \d+ bytes; \d+ were sent", KEY),
    Known(REJECTED, POLICY_WRITES, r"policy\.planLimits: a plan must match .*", KEY),
    Known(REJECTED, POLICY_WRITES, r"policy\.tenantLimits: (the|a) tenant must match .*", KEY),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session: at most \d+ bytes; it would have \d+", "OpenAPI has no bound for a whole body"),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session\.attributes: keys must match .*", KEY),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session\.(idle|absolute)Timeout: must be 1 s to \d+ s, the tenant's; .*", "the operator may set less for a tenant"),
    Known(REJECTED, "CreateSession|UpdateSession(ByPost)?", r"session\.device\.ip: must be an IPv4 or IPv6 address; \d+ bytes were sent", "the pattern covers addresses and a little more"),
    Known(REJECTED, "StreamSessionEvents(OfUser)?", r"after: must be the id of an event; (2[1-9]|[34]\d) bytes were sent", "numbers in the id have 64 bits"),
    # Protobuf's JSON.
    Known(ACCEPTED, ".*", r"in body - (.*: Incorrect type|violates `type` at .* \(was .*, became null\))", f"{PROTO_JSON}: null means unset", sent=r": ?null\b"),
    Known(ACCEPTED, ".*", "(in body - (.* )?(amount|burst|cost|estimate|lease): Incorrect type|positive test case)", f"{PROTO_JSON}: a string of digits is a 64-bit number", sent=r'"(amount|burst|cost|estimate|lease)": ?"-?\d+"'),
    Known(ACCEPTED, ".*", "in body - (.* )?(reason|kind|mode|outage|prefix|type|language): Incorrect type", f"{PROTO_JSON}: an enum's number is a value", sent=r'"(reason|kind|mode|outage|prefix|type|language)": ?\d+\b'),
    Known(ACCEPTED, "SearchDocumentsByGet", "parameter `prefix` in query - .*: Incorrect type", f"{PROTO_JSON}: an enum's number is a value", sent=r"prefix=\d"),
    Known(ACCEPTED, ".*", "in body - (.* )?(weight|sourceVersion|from|to|interval): Incorrect type", f"{PROTO_JSON}: a string may hold a number", sent=r'"(weight|sourceVersion|from|to|interval)": ?"'),
    Known(ACCEPTED, "UpdateTenantPlan(ByPost)?", "parameter `cause.reason` in query - .*: Incorrect type", f"{PROTO_JSON}: an enum's number is a value", sent=r"cause\.reason=\d"),
    # Fields that are ignored.
    Known(ACCEPTED, "UpdatePolicy(ByPost)?", "in body - (domain|lease|planLimits|tenantLimits|postCharge|outage|etag)\\b.*", "fields outside the mask are ignored", sent="updateMask=limit&"),
    Known(ACCEPTED, "StreamSessionEvents(OfUser)?", "parameter `after` in query - .*", "the header Last-Event-ID, which is sent as well, wins"),
    Known(ACCEPTED, "StreamSessionEvents(OfUser)?", "parameter `Last-Event-ID` in header - value not matching .*", "a value that is not ASCII is ignored"),
    # Answers in a form of their own.
    Known(ACCEPTED, "BatchAcquire", r"(in body - )?(requests -> Array with invalid items: .*|violates `\w+` at .*/properties/requests/items/.*)", "each item of a batch has its own answer: INVALID_ARGUMENT", answer=r'"code": ?3\b'),
    Known(ACCEPTED, "BatchUpsertDocuments", r"(in body - )?(documents -> Array with invalid items: .*|violates `\w+` at .*/properties/documents/items/.*)", "each item of a batch has its own answer: INVALID_ARGUMENT", answer=r'"code": ?3\b'),
    Known(EVENT, "StreamSessionEvents(OfUser)?", r'Event #\d+: .* is not of type "string".*', "the fuzzer takes the schema of the whole stream for that of an event"),
    Known(METHOD, ".*", "Unsupported method QUERY returned 400, expected 405 Method Not Allowed.*", "Envoy rejects QUERY without a content type"),
]
