"""The suite's scenarios of the Skills extension, at an endpoint that merges two servers. Source: SEP-2640."""

import pytest
from tests.conformance import suite
from tests.hub.conftest import at, config, running
from tests.hub.skills import SkillServer

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp


def served(name: str, path: str) -> ScriptedHttpServer:
    """A server with one skill, which has a directory."""
    text = f"---\nname: {name}\ndescription: Does {name}\n---\n\nSee `templates/`.\n"
    files = {f"skill://{path}/SKILL.md": text.encode(), f"skill://{path}/templates/long.md": b"Dear Madam,\n"}
    return ScriptedHttpServer(modern_mcp(**SkillServer(files, {"directoryRead": True}).options()))


@pytest.mark.parametrize("scenario", ["enumeration", "manifest", "directory"])
async def test_the_hub_serves_skills_as_the_suite_wants_them(scenario: str) -> None:
    async with (
        served("refunds", "refunds") as a,
        served("letters", "acme/letters") as b,
        running(config(at("a", a.url), at("b", b.url))) as hub,
    ):
        await hub.ready("a", "b")
        found = await suite.judge_extension(hub.mcp, f"sep-2640-skills-{scenario}")
    assert not found.said
    assert found.scenarios
