"""nginx as a plain reverse proxy: the reference. It copies bytes and knows nothing of MCP."""

import contextlib
import os
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..process import Program, free_port, running
from ..refused import Refused
from .candidate import Candidate, Server

CONFIG = """\
{user}worker_processes 1; daemon off; pid nginx.pid; error_log /dev/null; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log access.log; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream server {{ server 127.0.0.1:{server}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class Nginx(Candidate):
    name = "nginx"
    about = "a plain reverse proxy, the reference: one worker, connections to the server kept, access log on"
    own = True
    is_reference = True

    def __init__(self) -> None:
        self._binary = ""

    def prepare(self) -> None:
        binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if binary is None:
            raise Refused("nginx is missing: install it with this system's package manager (Debian: nginx-light)")
        self._binary = binary

    def version(self) -> str:
        told = subprocess.run([self._binary, "-v"], capture_output=True, text=True).stderr
        found = re.search(r"nginx/(\S+)", told)
        return found[1] if found else ""

    @contextlib.contextmanager
    def up(self, room: Path, servers: Sequence[Server]) -> Iterator[Program]:
        port = free_port()
        user = "user root; " if os.geteuid() == 0 else ""
        server = urllib.parse.urlsplit(servers[0].url).port
        (room / "nginx.conf").write_text(CONFIG.format(user=user, port=port, server=server))
        command = [self._binary, "-p", str(room), "-c", "nginx.conf", "-e", "/dev/null"]
        with running(command, room, port) as program:
            yield program

    def url(self, program: Program, server: Server) -> str:
        return program.url(urllib.parse.urlsplit(server.url).path)

    def configuration(self) -> list[tuple[str, str]]:
        return [
            ("command", "nginx -p . -c nginx.conf -e /dev/null"),
            ("nginx.conf", CONFIG.format(user="", port=8000, server=9000)),
        ]
