"""What docs/deploy.md and packaging/ tell an operator, as far as it runs without root; `make release` runs the rest."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import trustme
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from scripts.release import boot, unit
from scripts.release.common import ROOT
from tests.docs.runner import blocks
from tests.hub.conftest import at, config, free_port, running

from concento.cli.main import VERBS
from concento.model.config import Config
from concento.model.limits import MIB
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, echo, modern_mcp

NAME = "mcp.example.com"
PACKAGING = ROOT / "packaging"
USER = ("ada", "lovelace")


# ---- behind nginx


@contextmanager
def nginx(folder: Path, hub_port: int) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Nginx with the page's site, on a port and with files of the test's: its address, and whom to trust."""
    (site,) = (block.text for block in blocks(boot.PAGE) if block.language == "nginx")
    authority, port = trustme.CA(), free_port()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    authority.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    (folder / "users").write_text(f"{USER[0]}:{{PLAIN}}{USER[1]}\n")
    for shown, ours in {
        "127.0.0.1:7400": f"127.0.0.1:{hub_port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        f"/etc/ssl/{NAME}.pem": "both.pem",
        f"/etc/ssl/{NAME}.key": "both.pem",
        "/etc/nginx/concento.users": str(folder / "users"),
    }.items():
        assert site.count(shown) == 1, shown
        site = site.replace(shown, ours)
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    settings = f"{user} pid nginx.pid; error_log error.log; events {{}}"
    (folder / "nginx.conf").write_text(f"{settings} http {{ access_log off; {temporary}\n{site}\n}}\n")
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    subprocess.run(command, check=True)  # it leaves for the background once it listens
    try:
        yield f"https://127.0.0.1:{port}", trust
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_proxy_of_the_page_passes_an_event_on_while_the_call_still_runs(tmp_path: Path, mode: str) -> None:
    """The server waits for the agent to have seen its progress: a proxy that keeps events back would wait forever."""
    arrived = asyncio.Event()

    async def gated(exchange: Exchange):
        await exchange.progress(1, 2)
        await arrived.wait()
        return await echo(exchange)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        arrived.set()

    async with ScriptedHttpServer(modern_mcp(on_call=gated)) as server, running(behind(server.url)) as hub:
        await hub.ready("s")
        with nginx(tmp_path, hub.address.port) as (url, ca):
            http = httpx2.AsyncClient(verify=ca, headers={"Host": NAME}, auth=USER)
            async with http, Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client:
                result = await client.call_tool("s__echo", {"text": "hello"}, progress_callback=on_progress)
        assert not result.is_error
        assert len(server.hits("tools/call")) == 1


async def test_the_proxy_of_the_page_asks_who_calls_and_keeps_the_answer_to_itself(tmp_path: Path) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server, running(behind(server.url)) as hub:
        with nginx(tmp_path, hub.address.port) as (url, ca):
            async with httpx2.AsyncClient(verify=ca, headers={"Host": NAME}) as http:
                assert (await http.post(f"{url}/mcp", json={})).status_code == 401
                assert (await http.get(f"{url}/health/ready", auth=USER)).status_code == 200
                elsewhere = {"Host": "evil.example.com"}
                assert (await http.get(f"{url}/health/ready", auth=USER, headers=elsewhere)).status_code == 403
                large = await http.post(f"{url}/mcp", auth=USER, content=b" " * (4 * MIB + 1))
                assert large.status_code == 413


def behind(server: str) -> Config:
    """A configuration that knows the names which the page tells it."""
    (block,) = (block for block in blocks(boot.PAGE) if block.text.startswith("hosts:"))
    return config(at("s", server), hosts=tuple(yaml.safe_load(block.text)["hosts"]))


# ---- what runs where


@pytest.mark.parametrize("name", ["Containerfile", "concento.service", "pod.yaml"])
def test_packaging_runs_verbs_that_exist(name: str) -> None:
    lines = [line for line in (PACKAGING / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    started = re.findall(
        r"""(?:\bconcento",? "|CMD \["|command: \[concento, |bin/concento )([a-z]+)""", "\n".join(lines)
    )
    verbs = set(started) - {"concento"}
    assert verbs
    assert verbs <= VERBS.keys()


def test_the_pod_is_confined_as_the_image_is_built_to_be() -> None:
    image = (PACKAGING / "Containerfile").read_text()
    pod = yaml.safe_load((PACKAGING / "pod.yaml").read_text())["spec"]
    (hub,) = pod["containers"]
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in image
    assert pod["securityContext"]["runAsNonRoot"]
    assert hub["securityContext"]["readOnlyRootFilesystem"]
    assert hub["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["mountPath"]: mount for mount in hub["volumeMounts"]}
    assert mounted.keys() == {"/etc/concento", "/var/lib/concento", "/tmp"}
    assert mounted["/etc/concento"]["readOnly"]
    assert {mount["name"] for mount in mounted.values()} == {volume["name"] for volume in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] > 25 + 4  # draining, then two steps of ending a child


def test_the_image_takes_from_a_release_only_what_one_has() -> None:
    image = (PACKAGING / "Containerfile").read_text()
    copied = {name for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", image) for name in line.split()}
    papers = (ROOT / "scripts/release/papers.py").read_text()
    assert copied == {"requirements-uvx.txt", "*.whl", "sbom.cdx.json", "licences.json", "THIRD-PARTY-LICENCES.txt"}
    assert all(f'"{name}"' in papers for name in copied - {"*.whl"})


def test_the_unit_starts_what_the_page_installs() -> None:
    installed = "".join(boot.page())
    assert f"ExecStart={unit.INSTALLED} serve /etc/concento/concento.yaml\n" in unit.UNIT.read_text()
    assert "ln -sfn $version /opt/concento/current" in installed
    assert "/etc/concento/concento.yaml" in installed
