#!/usr/bin/env python3
"""Fuzzes every JSON route of a whole mesh with schemathesis, by the OpenAPI document: `just fuzz-api`.

Starts the mesh on free ports, in a temporary folder. Fails on a finding that known.py does not list, and if fewer than 90 % of the
calls pass authentication and limits. The same seed makes the same calls, unless a call depends on an earlier answer.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PYTHON = ROOT / ".toolbox/lint/api"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=20, help="generated calls for each operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", help="a keyplane-up that is built already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keyplane-fuzz-") as folder:
        mesh = start(folder, options)
        try:
            ready = mesh.stdout.readline()
            return fuzz(json.loads(ready), folder, options) if ready else 1
        finally:
            mesh.terminate()
            mesh.wait()


def start(folder: str, options: argparse.Namespace) -> subprocess.Popen:
    services = ["session", "auth-revocation", "rate-limiting", "search"]
    ports = ["--gateway-port=0", "--valkey-port=0", *(f"--service-port={name}=0" for name in services)]
    # A debug build on a busy machine misses production's limit on staleness.
    settings = {"KEYPLANE_RATELIMIT_POLICIES": str(HERE / "policies.yaml"), "KEYPLANE_REVOCATION_MAX_STALENESS": "1m"}
    command = [*keyplane_up(options), "--json", f"--run-dir={folder}", *ports]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True)


def keyplane_up(options: argparse.Namespace) -> list[str]:
    cargo = ["cargo", "run", "--quiet", "--package", "keyplane-local", "--bin", "keyplane-up", "--"]
    return [options.program] if options.program else cargo


def fuzz(mesh: dict, folder: str, options: argparse.Namespace) -> int:
    # The token's tenant must not be one that examples revoke.
    grant = ["token", f"--run-dir={folder}", "--tenant=bearer", "--user=fuzz", "--ttl=12h"]
    token = subprocess.run([*keyplane_up(options), *grant], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    summary = pathlib.Path(folder) / "summary.json"
    environment = os.environ | {
        "PYTHONPATH": f"{PYTHON}:{HERE}",
        "SCHEMATHESIS_HOOKS": "hooks",
        "FUZZ_TOKEN": token,
        "FUZZ_SUMMARY": str(summary),
    }
    command = [
        *(sys.executable, "-m", "schemathesis.cli", f"--config-file={HERE / 'schemathesis.toml'}", "run", mesh["openapi"]),
        *("--checks=all", "--phases=examples,coverage,fuzzing,stateful", "--workers=1"),
        *(f"--header=Authorization: Bearer {token}", f"--seed={options.seed}", f"--max-examples={options.examples}"),
        *("--generation-database=none", "--generation-with-security-parameters=false", "--continue-on-failure"),
        *("--output-sanitize=false", "--no-color"),
    ]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=folder, env=environment).returncode
    return judge(json.loads(summary.read_text()), ended, time.monotonic() - began)


def judge(summary: dict, ended: int, seconds: float) -> int:
    sys.path.insert(0, str(HERE))
    from known import KNOWN

    statuses = {int(status): count for status, count in summary["statuses"].items()}
    calls = sum(statuses.values())
    through = 1 - (statuses.get(401, 0) + statuses.get(429, 0)) / calls
    print(f"\n{calls} calls in {seconds:.0f} s, {through:.1%} past authentication and limits; by status: {statuses}")
    for index, known in enumerate(KNOWN):
        count = summary["met"].get(str(index), 0)
        print(f"known, {count} times: {known.code} {known.operations}: {known.rule}: {known.reason}")
    if through < 0.9:
        print("fewer than 90 % of the calls passed authentication and limits", file=sys.stderr)
        return 1
    if ended:
        print("new findings: fix them, or list them in deploy/local/fuzz/known.py with the reason", file=sys.stderr)
    return ended


if __name__ == "__main__":
    sys.exit(main())
