"""Hooks of schemathesis: calls that the fuzzer must not make, findings that are known, and counts."""

import json
import os
import re
import time
from collections import Counter

import requests
import schemathesis
from known import KNOWN

# Policies that limit the fuzzer itself; a call that changes them would end the run with 429.
GUARDED = {"user-api", "tenant-api", "oauth2-revoke"}
TOKEN = os.environ["FUZZ_TOKEN"]
SUMMARY = os.environ["FUZZ_SUMMARY"]

statuses: Counter[int] = Counter()
met: Counter[int] = Counter()


@schemathesis.hook
def filter_case(context, case):
    """Drops calls that would change the fuzzer's own limits."""
    body = case.body if isinstance(case.body, dict) else {}
    named = {str((case.path_parameters or {}).get("policy")), str((case.query or {}).get("policyId"))}
    return body.get("domain") != "keyplane" and not (case.path.startswith("/v1/policies") and named & GUARDED)


@schemathesis.hook
def after_call(context, case, response):
    """Counts answers to calls with the token. Some checks send none, and expect a rejection."""
    if response.request.headers.get("Authorization") == f"Bearer {TOKEN}":
        statuses[response.status_code] += 1
        save()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops known findings, and 503s that end: a busy machine causes them."""
    if response is not None and response.status_code == 503 and not is_lasting(response.request):
        return False
    operation = case.operation.definition.raw.get("operationId", case.operation.label)
    sent = f"{response.request.url}\n{text(response.request.body)}" if response is not None else ""
    answer = response.text if response is not None else ""
    entries = [known(failure.code, operation, sent, answer, rule) for rule in rules(failure, answer)]
    if None in entries:
        return True
    met.update(set(entries))
    save()
    return False


def is_lasting(request):
    """Whether the request gets 503 each time. The answer asks for a retry."""
    for _ in range(10):
        time.sleep(0.5)
        if requests.Session().send(request, timeout=15).status_code != 503:
            return False
    return True


def rules(failure, answer):
    """Broken rules of a finding: of a rejection each violation, else the reason; of any other failure its message."""
    try:
        error = json.loads(answer) if failure.code == "ST202" else {}
        details = error["details"]
        violations = [violation for detail in details for violation in detail.get("fieldViolations", [])]
        reasons = [f"{detail['reason']}: {error['message']}" for detail in details if "reason" in detail]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [(failure.message or failure.title).split("Invalid component: ")[-1].strip()]
    return [f"{violation['field']}: {violation['description']}" for violation in violations] or reasons


def known(code, operation, sent, answer, rule):
    """Number of the first entry that matches."""
    for number, entry in enumerate(KNOWN):
        whole = re.fullmatch(entry.operations, operation) and re.fullmatch(entry.rule, rule, re.DOTALL)
        if entry.code == code and whole and re.search(entry.sent, sent) and re.search(entry.answer, answer):
            return number
    return None


def text(body):
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")


def save():
    with open(SUMMARY, "w") as file:
        json.dump({"statuses": statuses, "met": met}, file)
