"""The official conformance suite: against the fixture, against the same through the hub, and the hub as a client.

Source: docs/conformance.md.
"""

import pytest
from tests.conformance.runs import Run, client_run, server_runs
from tests.conformance.suite import REVISIONS, scenarios

pytestmark = pytest.mark.timeout(300)


def told(run: Run) -> str:
    return "\n".join(["", *run.verdict.problems])


@pytest.fixture(scope="module", params=REVISIONS)
async def servers(request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """The fixture directly, and through the hub."""
    return await server_runs(request.param)


async def test_the_fixture_passes_everything_directly(servers: tuple[Run, Run]) -> None:
    direct, _ = servers
    assert direct.expected == {}
    assert not direct.verdict.problems, told(direct)


async def test_the_hub_passes_what_its_server_passes_but_what_is_expected(servers: tuple[Run, Run]) -> None:
    _, hub = servers
    assert not hub.verdict.problems, told(hub)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_hub_passes_as_a_client_but_what_is_expected(revision: str) -> None:
    hub = await client_run(revision)
    assert not hub.verdict.problems, told(hub)


@pytest.mark.parametrize(
    ("side", "revision", "count"),
    [
        ("server", "2025-11-25", 33),
        ("server", "2026-07-28", 50),
        ("client", "2025-11-25", 22),
        ("client", "2026-07-28", 36),
    ],
)
async def test_all_that_a_revision_requires_is_run(side: str, revision: str, count: int) -> None:
    names = await scenarios(side, revision)
    assert len(names) == count


@pytest.mark.parametrize(("revision", "count"), [("2025-11-25", 14 + 3), ("2026-07-28", 25 + 3)])
async def test_all_of_authorization_is_run_but_drafts(revision: str, count: int) -> None:
    names = [name for name in await scenarios("client", revision) if name.startswith("auth/")]
    assert len(names) == count
