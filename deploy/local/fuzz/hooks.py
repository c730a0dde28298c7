"""Hooks of schemathesis: what it must not do to its own token, what is known, and how many calls got through."""

import json
import os
import re
from collections import Counter

import schemathesis
from known import KNOWN

# With these the gateway asks for limits: a call that changes them would end the run with 429.
GUARDED = {"user-api", "tenant-api", "oauth2-revoke"}
TOKEN = os.environ["FUZZ_TOKEN"]
SUMMARY = os.environ["FUZZ_SUMMARY"]

statuses: Counter[int] = Counter()
met: Counter[int] = Counter()


@schemathesis.hook
def filter_case(context, case):
    """Drops calls that would change what the gateway limits the fuzzer by."""
    body = case.body if isinstance(case.body, dict) else {}
    named = {str((case.path_parameters or {}).get("policy")), str((case.query or {}).get("policyId"))}
    return body.get("domain") != "keyplane" and not (case.path.startswith("/v1/policies") and named & GUARDED)


@schemathesis.hook
def after_call(context, case, response):
    """Counts the answers to calls that bear the token. A check may send one without; that is meant to be refused."""
    if response.request.headers.get("Authorization") == f"Bearer {TOKEN}":
        statuses[response.status_code] += 1
        save()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops failures that are known."""
    operation = case.operation.definition.raw.get("operationId", case.operation.label)
    sent = (response.request.body or b"") if response is not None else b""
    sent = sent.decode(errors="replace") if isinstance(sent, bytes) else sent
    answers = rules(response.text if response is not None else "")
    entries = {answer: known(failure.code, operation, sent, answer) for answer in answers}
    if None in entries.values():
        return True
    met.update(entries.values())
    save()
    return False


def rules(answer):
    """The rules that the answer says are broken; else the answer itself."""
    try:
        details = json.loads(answer)["details"]
        violations = [violation for detail in details for violation in detail.get("fieldViolations", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        violations = []
    return [violation["description"] for violation in violations] or [answer]


def known(code, operation, sent, answer):
    """The number of the first entry that holds."""
    for number, entry in enumerate(KNOWN):
        matches = [(entry.operation, operation), (entry.sent, sent), (entry.answer, answer)]
        if entry.code == code and all(re.search(pattern, text, re.IGNORECASE) for pattern, text in matches):
            return number
    return None


def save():
    with open(SUMMARY, "w") as file:
        json.dump({"statuses": statuses, "met": met}, file)
