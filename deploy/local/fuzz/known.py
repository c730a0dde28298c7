"""What the fuzzer finds and is meant to be so: each with its reason. Anything else fails the run.

An entry holds for a failure whose code is `code` (`schemathesis explain ST202`), of an operation that `operation` matches, where
the request body matches `sent` and the answer matches `answer`: regular expressions. Of an answer that names fields which break
rules, each rule needs an entry that it matches.
"""

from typing import NamedTuple

ACCEPTED = "ST201"  # the schema forbids it, and it is accepted
REJECTED = "ST202"  # the schema allows it, and it is rejected
EVENT = "ST108"  # an event is not as the schema has it
METHOD = "ST204"  # a method that the document does not have


class Known(NamedTuple):
    code: str
    answer: str
    reason: str
    operation: str = ""
    sent: str = ""


KNOWN = [
    # Rules that OpenAPI 3.0 has no words for.
    Known(REJECTED, r"must be (the sequence of a revocation|the (reservation|charge) that|the .?next_?page_?token|a JWT)|of this charge can still be refunded", "only the service can make one"),
    Known(REJECTED, r"REQUEST_ID_REUSED", "a request id stands for one request; the fuzzer uses one twice"),
    Known(REJECTED, r'"code": ?9\b', "FAILED_PRECONDITION: the request is well, and the resource is not in that state"),
    Known(REJECTED, r"asks for `|is for other values than are given", "the named policy asks for another field"),
    Known(REJECTED, r"takes no amount, period or burst|must be positive|must be 1 second to 31 days", "it depends on the mode of the limit"),
    Known(REJECTED, r"must leak away within|at most the smallest burst|can't be combined with post_charge", "a rule about two fields"),
    Known(REJECTED, r"must not be given twice|need an entry with the key tenant", "a rule about two entries"),
    Known(REJECTED, r"to be remembered under|the batch('s, or empty)?$|must be a session of the same user", "a rule about two fields"),
    Known(REJECTED, r"the same issuer and jti|may not be set and removed at once", "a rule about two items"),
    Known(REJECTED, r"^must be set$", "RevokeToken needs issuer and jti, or token", operation="RevokeToken|BatchRevoke"),
    Known(REJECTED, r"^must be set$", "a mask names a field that is not sent", operation="^UpdatePolicy"),
    Known(REJECTED, r"keys must match|a key must have|a plan must match|the tenant must match|must not hold", "keys of maps have no pattern"),
    Known(REJECTED, r"must be a time between|from now$|in the future", "times have no bounds"),
    Known(REJECTED, r"at most \d+ bytes|\d+ bytes without control characters|it would have", "lengths count bytes of UTF-8, and of a whole session"),
    Known(REJECTED, r"IPv4 or IPv6", "the pattern of an address holds a little more than addresses"),
    Known(REJECTED, r"the tenant's", "the operator may set less for a tenant"),
    # What the fuzzer makes of a link between operations that it guesses.
    Known(REJECTED, r"the policy id must match", "it takes the entries of a policy for its id", operation="^(Get|Delete|Update)Policy"),
    # What JSON means to protobuf.
    Known(ACCEPTED, "", "null is the same as unset", sent=r": ?null\b"),
    Known(ACCEPTED, "", "a number of 64 bits may be a string of digits", sent=r'"(amount|burst|cost|estimate|lease)": ?"-?\d+"'),
    Known(ACCEPTED, "", "a value of an enum may be its number", sent=r'"(reason|kind|mode|outage)": ?\d'),
    Known(ACCEPTED, "", "a field that the mask leaves out is not looked at", operation="^UpdatePolicy", sent="x-schemathesis-additional"),
    Known(ACCEPTED, '"results":', "each item of a batch has an answer of its own", operation="^Batch"),
    # The gateway's own.
    Known(ACCEPTED, "", "a Last-Event-ID that is not ASCII is ignored", operation="^StreamSessionEvents"),
    Known(EVENT, "", "the schema is that of the whole body, a text; the fuzzer takes it for that of an event", operation="^StreamSessionEvents"),
    Known(METHOD, r"query_missing_content_type", "Envoy rejects the method QUERY itself, if it has no content type"),
]
