"""The API is what its description says: schemathesis tries it, with right and with wrong data."""

import asyncio
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from tests.admin.conftest import TOKEN, desk, written

from concento.admin.api import OPERATIONS
from concento.admin.openapi import document, plain_path, statuses
from concento.testing.http_server import ScriptedHttpServer

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
BUDGET_S = 15
CONFIG = """\
# What fits the description may still name what is not there, or not go with what is: 409, 412, 422, 428.
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "428", "503"]
negative_data_rejection.expected-statuses = ["4xx"]
"""


async def test_schemathesis_finds_nothing(tmp_path: Path, server: ScriptedHttpServer) -> None:
    """What a tenant has is asked for by the handlers that the operator's is; the long run tries those paths, too."""
    shorter = ("--exclude-path-regex", "^/api/v1/tenants/", "--max-time", f"{BUDGET_S}")
    found, told = await tried(tmp_path, server, *shorter)
    assert found == 0, told


@pytest.mark.long
async def test_schemathesis_finds_nothing_in_minutes(tmp_path: Path, server: ScriptedHttpServer) -> None:
    found, told = await tried(tmp_path, server, "--max-examples", "50")
    assert found == 0, told


async def tried(folder: Path, server: ScriptedHttpServer, *options: str) -> tuple[int | None, str]:
    text = f"""
servers: {{a: {{url: {server.url}}}, b: {{url: {server.url}}}}}
tools: {{both: {{bind: [a.echo, b.echo], strategy: split}}}}
views: {{v: {{include: ["a.*"]}}}}
roles: {{dev: {{allow: ["*"], members: ["*"]}}}}
tenants: {{acme: {{share: ["a.*"]}}}}
limits: {{slow: {{rate: 1/s}}}}
auth: {{api_keys: true}}
"""
    (folder / "schemathesis.toml").write_text(CONFIG)
    async with desk(written(folder, text)) as hub:
        process = await asyncio.create_subprocess_exec(
            *(SCHEMATHESIS, "--config-file", "schemathesis.toml", "run", f"{hub.admin}/openapi.json"),
            *("-H", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--phases", "coverage,fuzzing,stateful"),
            *("--warnings", "off", "--max-examples", "2", *options),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert await hub.get("/health/live") == {"status": "live"}
    return process.returncode, said.decode()[-8000:]


def test_the_description_has_every_operation_with_its_refusals() -> None:
    described = document(OPERATIONS)
    for row in OPERATIONS:
        operation = described["paths"][plain_path(row)][row.method.lower()]
        answers = {int(status) for status in operation["responses"]}
        assert {row.status, *statuses(row), *(row.also or {})} <= answers
        if row.schema is not None:
            jsonschema_rs.validator_for(row.schema)
