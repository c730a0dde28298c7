"""Creates a session, changes it, and follows it. With openapi-python-client."""

import json
from collections.abc import Iterator

from keyplane import AuthenticatedClient
from keyplane.api.session_service import create_session, update_session
from keyplane.models import ApiError, SessionEvent, SessionInput, SessionPatch


def follow(base_url: str, token: str) -> Iterator[SessionEvent]:
    client = AuthenticatedClient(base_url=base_url, token=token)
    created = create_session.sync("acme", "u-42", client=client, body=SessionInput(company_id="c-7"))
    if created is None or isinstance(created, ApiError):
        raise RuntimeError(created)

    patch = SessionPatch(last_path="/tasks/42")
    changed = update_session.sync(
        "acme", "u-42", created.session_id, client=client, body=patch, version=created.version
    )
    if changed is None or isinstance(changed, ApiError):
        raise RuntimeError(changed)

    with client.get_httpx_client().stream("GET", f"/v1/{changed.name}:watch", timeout=None) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield SessionEvent.from_dict(json.loads(line.removeprefix("data: ")))
