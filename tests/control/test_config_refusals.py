"""What a configuration must not say: each case names the place (line:column) and the words a person needs.

Lines of the cases are counted in the text as it stands, from 1. Source: hardening R21; design, section 2.
"""

from pathlib import Path

import pytest

from concento.control.config import load, read
from concento.model.errors import ConfigError

ENV = {"HOME": "/home/ada", "SECRET": "canary-value", "SPACED": "canary with spaces", "LINES": "canary\nline"}
PATH = Path("/etc/hub/concento.yaml")


def problems(text: str | bytes, path: Path = PATH) -> list[str]:
    """All problems of a text, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        read(text.encode() if isinstance(text, str) else text, path, ENV)
    assert "canary" not in str(caught.value)
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def one(keys: str) -> str:
    """A file with one server, whose keys start at line 2, column 9."""
    return f"servers:\n  one: {{{keys}}}\n"


# (case, text, place, part of the message); every text has exactly one problem
CASES: list[tuple[str, str | bytes, str, str]] = [
    # the text
    ("empty", "", "1:1", "empty"),
    ("only a comment", "# nothing yet\n", "1:1", "empty"),
    ("only spaces", "  \n\n", "1:1", "empty"),
    ("not UTF-8", b"servers:\n  a: {command: [\xff]}", "2:17", "UTF-8"),
    ("UTF-16", "servers: {}".encode("utf-16"), "1:1", "UTF-8"),
    ("too large", "#" * (1024 * 1024 + 1), "1:1", "larger than 1 MiB"),
    ("control character", "servers:\n  a: {command: [\x07]}", "2:17", "character that YAML forbids"),
    ("null character", "servers: {}\n\0", "2:1", "character that YAML forbids"),
    ("tab indents", "servers:\n\ta: {command: [x]}", "2:1", "spaces, not tabs"),
    ("unclosed list", "servers:\n  a: {command: [x}\n", "2:18", "not YAML"),
    ("unclosed quote", 'servers:\n  a: {command: ["x]}\n', "3:1", "not YAML"),
    ("bad indent", "servers:\n  a:\n    command: [x]\n   b: 1\n", "4:4", "not YAML"),
    ("colon in plain text", "servers:\n  a:\n    url: http: //x\n", "3:14", "quote text that has a colon"),
    (
        "unquoted reference in braces",
        "servers:\n  a: {command: [x], env: {A: ${env:B}}}\n",
        "2:31",
        "quote a reference",
    ),
    ("second document", "servers: {}\n---\nservers: {}\n", "2:1", "second document"),
    ("unknown alias", "servers:\n  a: *base\n", "2:6", "no anchor before it"),
    ("alias in itself", "servers: &all\n  a: *all\n", "2:6", "used inside itself"),
    ("unquoted star", "servers: {}\nviews: {v: {include: [*.read]}}\n", "2:24", "quote text that starts with *"),
    ("tag", "servers: !secret {}\n", "1:10", "tag '!secret'"),
    ("python tag", "servers: !!python/object/apply:os.system [x]\n", "1:10", "leave it out"),
    ("number tag", one("command: [x], timeout_s: !!int 3"), "2:34", "leave it out"),
    ("key that is a list", "servers: {}\n? [a, b]\n: c\n", "2:3", "key must be plain text"),
    ("merge of text", one("<<: text, command: [x]"), "2:13", "<< merges mappings"),
    (
        "merge of a list with text",
        "servers:\n  a: &a {command: [x]}\n  b: {<<: [*a, x]}\n",
        "3:11",
        "<< merges mappings",
    ),
    ("too deep", "servers: " + "[" * 40 + "]" * 40, "1:42", "nested deeper than 32"),
    # keys
    ("root is a list", "- servers\n", "1:1", "expected a mapping with the keys of a configuration, found a list"),
    ("root is text", "servers\n", "1:1", "found text"),
    ("no servers", "listen: 127.0.0.1:7400\n", "1:1", "needs the key 'servers'"),
    ("unknown key", "servers: {}\nlisten_to: 127.0.0.1:1\n", "2:1", "did you mean 'listen'?"),
    ("unknown key, nothing near", "servers: {}\nzzz: 1\n", "2:1", "known here: listen, tls, admin"),
    ("unknown key of a server", one("comand: [x]"), "2:9", "unknown key 'comand'; did you mean 'command'?"),
    ("unknown key of a replica", one("replicas: [{urll: http://h}]"), "2:21", "did you mean 'url'?"),
    ("unknown key of a tool", one("command: [x], tools: {t: {hidden: true}}"), "2:35", "did you mean 'hide'?"),
    ("unknown key of a view", "servers: {}\nviews: {v: {includes: ['*']}}\n", "2:13", "did you mean 'include'?"),
    ("unknown key of credentials", one("url: 'http://h', credentials: {beare: x}"), "2:40", "did you mean 'bearer'?"),
    ("unknown key of defaults", "servers: {}\ndefaults: {timeout: 3}\n", "2:12", "did you mean 'timeout_s'?"),
    ("unknown key of names", "servers: {}\nnames: {max_chars: 3}\n", "2:9", "unknown key 'max_chars'"),
    ("unknown key of admin", "servers: {}\nadmin: {port: 3}\n", "2:9", "unknown key 'port'"),
    ("unknown key of telemetry", "servers: {}\ntelemetry: {log: off}\n", "2:13", "unknown key 'log'"),
    ("unknown key of traces", "servers: {}\ntelemetry: {traces: {slow: 3}}\n", "2:22", "did you mean 'slow_ms'?"),
    (
        "more than all traces",
        "servers: {}\ntelemetry: {traces: {sample: 2}}\n",
        "2:30",
        "a number from 0 to 1, found 2",
    ),
    ("traces on", "servers: {}\ntelemetry: {traces: on}\n", "2:21", "expected a mapping"),
    ("baggage of no name", "servers: {}\ntelemetry: {baggage: ['a b']}\n", "2:23", "the name of a member"),
    ("very long key", f"servers: {{}}\n{'k' * 900}: 1\n", "2:1", "unknown key 'kkk"),
    ("key with a line break", 'servers: {}\n"a\\nb": 1\n', "2:1", r"unknown key 'a\nb'"),
    ("a client's key", "mcpServers: {}\n", "1:1", "did you mean 'servers'?"),
    ("duplicate key", "servers: {}\nservers: {}\n", "2:1", "duplicate key 'servers'; it is on line 1 already"),
    ("duplicate alias", "servers:\n  a: {command: [x]}\n  a: {command: [y]}\n", "3:3", "on line 2 already"),
    ("duplicate variable", one("command: [x], env: {A: 1, A: 2}"), "2:35", "duplicate key 'A'"),
    *(
        (f"{key} later", f"servers: {{}}\n{key}: {{}}\n", "2:1", f"'{key}' is not available in this version yet")
        for key in ("shared",)
    ),
    # servers
    ("servers are nothing", "servers:\n", "1:9", "found nothing; write {} for an empty one"),
    ("servers are a list", "servers: [a]\n", "1:10", "expected a mapping, each key a server alias, found a list"),
    ("server is nothing", "servers:\n  a:\n", "2:5", "with the keys of a server, found nothing"),
    ("server is text", "servers:\n  a: uvx\n", "2:6", "found text"),
    ("alias in capitals", "servers:\n  Git: {command: [x]}\n", "2:3", "'Git' can't be a server alias; expected a-z"),
    ("alias with underscore", "servers:\n  my_git: {command: [x]}\n", "2:3", "'my_git' can't be"),
    ("alias begins with digit", "servers:\n  1a: {command: [x]}\n", "2:3", "beginning with a letter"),
    ("alias too long", "servers:\n  abcdefghijklmnopqrstu: {command: [x]}\n", "2:3", "at most 20"),
    ("server without a way", one("required: true"), "2:3", "the server 'one' needs 'command', 'url' or 'replicas'"),
    ("server is empty", "servers:\n  one: {}\n", "2:3", "needs 'command'"),
    ("command is text", one("command: uvx time"), "2:18", "expected a list, one item for each argument, such as"),
    ("command is empty", one("command: []"), "2:18", "at least 1"),
    ("command has a list", one("command: [x, [y]]"), "2:22", "found a list"),
    ("command has nothing in it", one("command: [x, ]").replace(", ]", ", ~]"), "2:22", "found nothing"),
    ("program is empty", one("command: ['']"), "2:9", "the program to start is empty"),
    ("args are text", one("command: [x], args: y"), "2:29", "expected a list"),
    ("args without command", one("url: 'http://h', args: [y]"), "2:26", "'args' has no effect without 'command'"),
    ("env without command", one("url: 'http://h', env: {A: b}"), "2:26", "'env' has no effect without 'command'"),
    ("cwd without command", one("url: 'http://h', cwd: b"), "2:26", "'cwd' has no effect without 'command'"),
    ("headers without url", one("command: [x], headers: {A: b}"), "2:23", "'headers' has no effect without 'url'"),
    ("bearer without url", one("command: [x], credentials: {bearer: b}"), "2:23", "no effect without 'url'"),
    ("transport without url", one("command: [x], transport: sse"), "2:23", "no effect without 'url'"),
    ("env is a list", one("command: [x], env: [A=b]"), "2:28", "expected a mapping, each key a variable, found a list"),
    ("variable is nothing", one("command: [x], env: {A: }"), "2:32", "found nothing"),
    ("variable is a mapping", one("command: [x], env: {A: {b: c}}"), "2:32", "found a mapping"),
    ("variable with =", one("command: [x], env: {A=B: c}"), "2:29", "can't be a variable; expected a name without ="),
    ("env_inherit", one("command: [x], env_inherit: all"), "2:36", "expected one of safe, none"),
    ("cwd is a list", one("command: [x], cwd: [a]"), "2:28", "expected a folder, found a list"),
    ("cwd is empty", one("command: [x], cwd: ''"), "2:28", "expected a folder"),
    ("timeout is 0", one("command: [x], timeout_s: 0"), "2:34", "a number above 0 and up to 300, found 0"),
    ("timeout too long", one("command: [x], timeout_s: 300.5"), "2:34", "found 300.5"),
    (
        "timeout with unit",
        one("command: [x], timeout_s: 30s"),
        "2:34",
        "expected a number above 0 and up to 300, found text",
    ),
    ("timeout is true", one("command: [x], timeout_s: true"), "2:34", "found true"),
    ("timeout is quoted", one("command: [x], timeout_s: '30'"), "2:34", "found text"),
    ("timeout is endless", one("command: [x], timeout_s: 1e999"), "2:34", "expected a number"),
    ("required is yes", one("command: [x], required: yes"), "2:33", "expected true or false, found text"),
    ("required is 1", one("command: [x], required: 1"), "2:33", "found a number"),
    ("concurrency is 0", one("command: [x], concurrency_max: 0"), "2:40", "a whole number from 1 to 10000, found 0"),
    ("concurrency in parts", one("command: [x], concurrency_max: 1.5"), "2:40", "a whole number"),
    ("isolation unknown", one("command: [x], isolation: user"), "2:34", "expected one of shared, principal, session"),
    ("isolation is nothing", one("command: [x], isolation: "), "2:34", "expected one of shared"),
    (
        "stateful and shared",
        one("command: [x], stateful: true, isolation: shared"),
        "2:23",
        "implies 'isolation: session'",
    ),
    ("start unknown", one("command: [x], start: lasy"), "2:30", "one of eager, lazy; did you mean 'lazy'?"),
    ("start without command", one("url: 'http://h', start: lazy"), "2:26", "'start' has no effect without 'command'"),
    ("idle stop is 0", one("command: [x], idle_stop_s: 0"), "2:36", "a number from 1 to 86400, found 0"),
    ("idle stop is text", one("command: [x], idle_stop_s: 5m"), "2:36", "a number from 1 to 86400, found text"),
    ("idle stop without command", one("url: 'http://h', idle_stop_s: 9"), "2:26", "no effect without 'command'"),
    (
        "start beside a url",
        one("command: [x], url: 'http://h', start: lazy"),
        "2:40",
        "for servers spoken to over stdio",
    ),
    ("idle stop beside a url", one("command: [x], url: 'http://h', idle_stop_s: 9"), "2:40", "over stdio"),
    ("start in a replica", one("replicas: [{command: [x], start: lazy}]"), "2:35", "unknown key 'start'"),
    ("default start", "servers: {}\ndefaults: {start: never}\n", "2:19", "one of eager, lazy"),
    # sandbox
    ("sandbox unknown", one("command: [x], sandbox: bubblewarp"), "2:32", "did you mean 'bubblewrap'?"),
    ("sandbox is true", one("command: [x], sandbox: true"), "2:32", "expected one of bubblewrap, container"),
    ("sandbox is nothing", one("command: [x], sandbox: "), "2:32", "with the keys of a sandbox, found nothing"),
    ("sandbox is a list", one("command: [x], sandbox: [bubblewrap]"), "2:32", "found a list"),
    ("sandbox without command", one("url: 'http://h', sandbox: bubblewrap"), "2:26", "no effect without 'command'"),
    ("unknown key of a sandbox", one("command: [x], sandbox: {netwrok: true}"), "2:33", "did you mean 'network'?"),
    ("sandbox kind unknown", one("command: [x], sandbox: {kind: docker}"), "2:39", "one of bubblewrap, container"),
    ("container in a word", one("command: [x], sandbox: container"), "2:32", "'kind: container' needs 'command'"),
    ("container without command", one("command: [x], sandbox: {kind: container}"), "2:33", "needs 'command', such as"),
    ("container's empty program", one("command: [x], sandbox: {kind: container, command: ['']}"), "2:50", "is empty"),
    (
        "container with network",
        one("command: [x], sandbox: {kind: container, command: [y], network: true}"),
        "2:64",
        "'network' has no effect with 'kind: container'; say it in 'command'",
    ),
    ("bubblewrap's command", one("command: [x], sandbox: {command: [y]}"), "2:33", "is for 'kind: container'"),
    ("everything shared", one("command: [x], sandbox: {read_only: [/]}"), "2:45", "can't be given /; name the folders"),
    ("devices shared", one("command: [x], sandbox: {writable: [/x/../dev/]}"), "2:44", "can't be given /dev"),
    ("a secret shared", one("command: [x], sandbox: {writable: ['${env:ABSENT}']}"), "2:44", "ABSENT is not set"),
    (
        "shared twice",
        one("command: [x], sandbox: {read_only: [/a/b], writable: [/a/./b/]}"),
        "2:33",
        "/a/b is in 'read_only' and in 'writable'",
    ),
    (
        "little memory",
        one("command: [x], sandbox: {memory_mb: 8}"),
        "2:44",
        "a whole number from 16 to 1048576, found 8",
    ),
    ("no processes", one("command: [x], sandbox: {processes_max: 1}"), "2:48", "from 2 to 100000, found 1"),
    (
        "sandbox beside a url",
        one("command: [x], url: 'http://h', sandbox: bubblewrap"),
        "2:40",
        "a program that serves 'url' needs 'sandbox: {network: true}', or 'sandbox: off'",
    ),
    ("default sandbox", "servers: {}\ndefaults: {sandbox: chroot}\n", "2:21", "one of bubblewrap, container"),
    ("prefix unknown", one("command: [x], prefix: none"), "2:31", "expected one of alias, never"),
    (
        "second without prefix",
        "servers:\n  a: {command: [x], prefix: never}\n  b: {command: [x], prefix: never}\n",
        "3:21",
        "'a' has it already",
    ),
    # URLs, headers, credentials
    ("url is a list", one("url: [a]"), "2:14", "expected a URL, such as https://docs.example.com/mcp, found a list"),
    ("url without scheme", one("url: docs.example.com/mcp"), "2:14", "expected an http:// or https:// URL"),
    ("url of a file", one("url: 'file:///etc/passwd'"), "2:14", "expected an http:// or https:// URL"),
    ("url without host", one("url: 'http:///mcp'"), "2:14", "expected an http:// or https:// URL"),
    ("url with a space", one("url: 'http://h/a b'"), "2:14", "expected an http:// or https:// URL"),
    ("url with a bad port", one("url: 'http://h:99999/'"), "2:14", "expected an http:// or https:// URL"),
    ("url with a bad address", one("url: 'http://[::1/'"), "2:14", "expected an http:// or https:// URL"),
    ("url with a fragment", one("url: 'http://h/#x'"), "2:14", "expected an http:// or https:// URL"),
    ("url with a password", one("url: 'http://u:canary@h/'"), "2:14", "can't hold a user or password"),
    ("secret url", one("url: '${env:SECRET}'"), "2:14", "expected an http:// or https:// URL"),
    ("transport unknown", one("url: 'http://h', transport: ws"), "2:37", "expected one of auto, http, sse"),
    ("headers are a list", one("url: 'http://h', headers: [a]"), "2:35", "expected a mapping, each key a header field"),
    ("header is a list", one("url: 'http://h', headers: {A: [b]}"), "2:39", "expected visible ASCII text on one line"),
    ("header name with space", one("url: 'http://h', headers: {A B: c}"), "2:36", "can't be a header field"),
    ("header with line break", one('url: "http://h", headers: {A: "b\\r\\nC: d"}'), "2:39", "on one line"),
    ("secret header with line break", one("url: 'http://h', headers: {A: '${env:LINES}'}"), "2:39", "on one line"),
    ("header of the hub", one("url: 'http://h', headers: {Content-Length: 3}"), "2:36", "the hub itself writes"),
    ("header of the protocol", one("url: 'http://h', headers: {Mcp-Session-Id: x}"), "2:36", "the hub itself writes"),
    ("header twice", one("url: 'http://h', headers: {a: x, A: y}"), "2:42", "given twice"),
    (
        "bearer is a mapping",
        one("url: 'http://h', credentials: {bearer: {}}"),
        "2:48",
        "expected a token without spaces",
    ),
    ("bearer is empty", one("url: 'http://h', credentials: {bearer: ''}"), "2:48", "expected a token without spaces"),
    (
        "secret bearer with spaces",
        one("url: 'http://h', credentials: {bearer: '${env:SPACED}'}"),
        "2:48",
        "a token without",
    ),
    ("credentials are text", one("url: 'http://h', credentials: canary"), "2:39", "expected a mapping"),
    (
        "two credentials",
        one("url: 'http://h', credentials: {bearer: a}, headers: {authorization: b}"),
        "2:26",
        "exclude each other",
    ),
    # replicas
    ("replicas are a mapping", one("replicas: {url: 'http://h'}"), "2:19", "expected a list, such as"),
    ("no replicas", one("replicas: []"), "2:19", "at least 1"),
    ("replica is text", one("replicas: ['http://h']"), "2:20", "with the keys of a replica"),
    ("replica without a way", one("replicas: [{weight: 1}]"), "2:20", "either 'command' or 'url'"),
    ("replica with two ways", one("replicas: [{command: [x], url: 'http://h'}]"), "2:20", "either 'command' or 'url'"),
    ("replica with idle key", one("replicas: [{command: [x], headers: {}}]"), "2:35", "no effect without 'url'"),
    ("replicas and url", one("replicas: [{url: 'http://h'}], url: 'http://h'"), "2:40", "move it into a replica"),
    ("replicas and command", one("replicas: [{url: 'http://h'}], command: [x]"), "2:40", "move it into a replica"),
    ("replicas and idle key", one("replicas: [{url: 'http://h'}], env: {}"), "2:40", "no effect without 'command'"),
    ("weight is 0", one("replicas: [{url: 'http://h', weight: 0}]"), "2:46", "a whole number from 1 to 100"),
    ("weight of a server", one("command: [x], weight: 2"), "2:23", "unknown key 'weight'"),
    ("hash_by of nothing", one("command: [x], hash_by: session"), "2:23", "no effect without 'balance: hash'"),
    ("hash_by of what", one("command: [x], balance: hash, hash_by: user"), "2:47", "expected subject, session or"),
    ("balance unknown", one("command: [x], balance: least_bussy"), "2:32", "did you mean 'least_busy'?"),
    # tools
    ("tools are a list", one("command: [x], tools: [a]"), "2:30", "expected a mapping, each key a tool name"),
    ("tool is text", one("command: [x], tools: {a: b}"), "2:34", "with the keys of a tool"),
    ("rename with a dot", one("command: [x], tools: {a: {rename: b.c}}"), "2:43", "1 to 128 of A-Z a-z 0-9 _ -"),
    ("rename to nothing", one("command: [x], tools: {a: {rename: ''}}"), "2:43", "1 to 128"),
    ("rename twice to one", one("command: [x], tools: {a: {rename: c}, b: {rename: c}}"), "2:51", "tool 'a' already"),
    ("description is a list", one("command: [x], tools: {a: {description: [b]}}"), "2:48", "expected text"),
    (
        "description with a reference",
        one("command: [x], tools: {a: {description: '${env:SECRET}'}}"),
        "2:48",
        "not here",
    ),
    # references
    (
        "variable not set",
        one("command: ['${env:NONE}']"),
        "2:19",
        "variable NONE is not set; set it where Concento starts",
    ),
    ("variable without kind", one("command: ['${SECRET}']"), "2:19", "write ${env:SECRET}"),
    (
        "reference to a vault",
        one("command: ['${vault:a/b}']"),
        "2:19",
        "unknown reference ${vault…}; there are ${env:NAME}",
    ),
    ("reference without name", one("command: ['${env:}']"), "2:19", "unknown reference"),
    ("reference to an odd name", one("command: ['${env:A-B}']"), "2:19", "unknown reference"),
    ("reference not closed", one("command: ['${env:SECRET']"), "2:19", "not closed"),
    ("reference in a reference", one("command: ['${env:A:-${env:SECRET}}']"), "2:19", "has another inside"),
    ("file missing", one("command: ['${file:none.txt}']"), "2:19", "no file none.txt"),
    ("file without name", one("command: ['${file:}']"), "2:19", "unknown reference"),
    ("file is a folder", one("command: ['${file:/etc}']"), "2:19", "no file /etc"),
    ("file is a device", one("command: ['${file:/dev/zero}']"), "2:19", "no file /dev/zero"),
    ("reference elsewhere", "servers: {}\nlisten: '${env:SECRET}'\n", "2:9", "not here"),
    # views
    ("views are a list", "servers: {}\nviews: [a]\n", "2:8", "expected a mapping, each key a view name"),
    ("view is nothing", "servers: {}\nviews:\n  v:\n", "3:5", "found nothing; write {}"),
    ("view name", "servers: {}\nviews: {My View: {}}\n", "2:9", "can't be a view name"),
    (
        "include is text",
        "servers: {}\nviews: {v: {include: '*'}}\n",
        "2:22",
        "expected a list, patterns over server.tool",
    ),
    ("include is empty", "servers: {}\nviews: {v: {include: []}}\n", "2:22", "at least 1"),
    ("pattern is a number", "servers: {}\nviews: {v: {include: [1]}}\n", "2:23", "expected a pattern"),
    ("pattern without tool", one("command: [x]") + "views: {v: {include: [one]}}", "3:23", "write 'one.*'"),
    ("pattern with half a dot", one("command: [x]") + "views: {v: {include: [one.]}}", "3:23", "over server.tool"),
    ("pattern with a class", one("command: [x]") + "views: {v: {include: ['one.[ab]*']}}", "3:23", "* and ? only"),
    ("pattern with choices", one("command: [x]") + "views: {v: {include: ['one.{a,b}']}}", "3:23", "* and ? only"),
    ("pattern of no server", one("command: [x]") + "views: {v: {exclude: ['onee.*']}}", "3:23", "did you mean 'one'?"),
    (
        "pattern of an odd server",
        one("command: [x]") + "views: {v: {include: ['O ne.*']}}",
        "3:23",
        "alias of a server",
    ),
    # the hub
    (
        "listen is a number",
        "servers: {}\nlisten: 7400\n",
        "2:9",
        "expected an address, such as 127.0.0.1:7400, found a number",
    ),
    ("listen without host", "servers: {}\nlisten: ':7400'\n", "2:9", "expected HOST:PORT"),
    ("listen without port", "servers: {}\nlisten: 127.0.0.1\n", "2:9", "expected HOST:PORT"),
    ("listen with a far port", "servers: {}\nlisten: 127.0.0.1:70000\n", "2:9", "port up to 65535, found 70000"),
    (
        "a flag as YAML 1.1 has it",
        one("command: [x], required: yes"),
        "2:33",
        "expected true or false, found text; write true",
    ),
    ("listen on bare IPv6", "servers: {}\nlisten: '::1:7400'\n", "2:9", "expected HOST:PORT"),
    ("listen on bad IPv6", "servers: {}\nlisten: '[::g]:7400'\n", "2:9", "expected HOST:PORT"),
    (
        "listen on all",
        "servers: {}\nlisten: 0.0.0.0:7400\n",
        "2:1",
        "without 'auth' the hub serves loopback only: set 'listen'",
    ),
    ("listen on all IPv6", "servers: {}\nlisten: '[::]:7400'\n", "2:1", "without 'auth'"),
    ("listen on a network", "servers: {}\nlisten: 10.0.0.1:7400\n", "2:1", "without 'auth'"),
    ("listen on a name", "servers: {}\nlisten: hub.example.com:7400\n", "2:1", "without 'auth'"),
    ("listen on a look-alike", "servers: {}\nlisten: localhost.example.com:7400\n", "2:1", "without 'auth'"),
    ("admin on all", "servers: {}\nadmin: {listen: 0.0.0.0:7401}\n", "2:9", "set 'admin.listen' to 127.0.0.1:7401"),
    ("admin is on", "servers: {}\nadmin: on\n", "2:8", "expected a mapping with the keys of admin"),
    ("admin is text", "servers: {}\nadmin: 127.0.0.1:7401\n", "2:8", "expected a mapping with the keys of admin"),
    ("one port for both", "servers: {}\nadmin: {listen: 127.0.0.1:7400}\n", "2:1", "different ports"),
    ("one port for both by default", "servers: {}\nlisten: 127.0.0.1:7401\n", "2:1", "different ports"),
    ("state is a path", "servers: {}\nstate: hub.db\n", "2:8", "expected sqlite:///FILE"),
    ("state with two slashes", "servers: {}\nstate: sqlite://hub.db\n", "2:8", "expected sqlite:///FILE"),
    ("state without file", "servers: {}\nstate: sqlite:///\n", "2:8", "expected sqlite:///FILE"),
    ("state is a folder", "servers: {}\nstate: sqlite:///x/\n", "2:8", "expected sqlite:///FILE"),
    (
        "state in PostgreSQL",
        "servers: {}\nstate: postgresql://u:canary@h/db\n",
        "2:8",
        "not available in this version yet",
    ),
    ("hosts are text", "servers: {}\nhosts: localhost\n", "2:8", "expected a list, such as [localhost, 127.0.0.1]"),
    ("hosts are empty", "servers: {}\nhosts: []\n", "2:8", "at least 1"),
    ("host with port", "servers: {}\nhosts: ['localhost:7400']\n", "2:9", "without scheme and port"),
    ("host with scheme", "servers: {}\nhosts: ['http://localhost']\n", "2:9", "without scheme and port"),
    ("host is a star", "servers: {}\nhosts: ['*']\n", "2:9", "expected the name or address of a host"),
    ("host is a number", "servers: {}\nhosts: [1]\n", "2:9", "expected the name of a host, found a number"),
    ("names too short", "servers: {}\nnames: {chars_max: 31}\n", "2:20", "a whole number from 32 to 128, found 31"),
    ("names too long", "servers: {}\nnames: {chars_max: 129}\n", "2:20", "found 129"),
    (
        "names far too long",
        f"servers: {{}}\nnames: {{chars_max: {'9' * 5000}}}\n",
        "2:20",
        "a whole number from 32 to 128",
    ),
    ("page of nothing", "servers: {}\ndefaults: {page_items_max: 0}\n", "2:28", "from 1 to 10000"),
    ("start wait below 0", "servers: {}\ndefaults: {start_wait_s: -1}\n", "2:26", "from 0 to 60, found -1"),
    ("list lifetime in days", "servers: {}\ndefaults: {list_ttl_s: 1d}\n", "2:24", "from 0 to 86400, found text"),
    ("default timeout", "servers: {}\ndefaults: {timeout_s: 1000}\n", "2:23", "up to 300, found 1000"),
    (
        "default isolation",
        "servers: {}\ndefaults: {isolation: none}\n",
        "2:23",
        "expected one of shared, principal, session",
    ),
    (
        "access log is true",
        "servers: {}\ntelemetry: {access_log: true}\n",
        "2:25",
        "auto, stderr, off or the path of a file",
    ),
]


@pytest.mark.parametrize(("text", "place", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_problem_is_named_with_its_place(text: str | bytes, place: str, words: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: ")
    assert words in problem


def test_all_problems_are_named_at_once_in_the_files_order() -> None:
    found = problems(
        "listen: 0.0.0.0:7400\nnames: {chars_max: 1}\nshared: {}\nservers:\n  a: {comand: [x]}\n  B: {command: x}\n"
    )
    assert [problem.split(": ")[0] for problem in found] == ["1:1", "2:20", "3:1", "5:7", "6:3", "6:16"]


def test_a_thousand_problems_are_counted_not_listed() -> None:
    found = problems("servers: {}\n" + "".join(f"k{n}: 1\n" for n in range(1000)))
    assert len(found) == 101
    assert found[-1] == " 900 more problems"


def test_problem_met_through_aliases_is_named_once() -> None:
    assert len(problems("servers:\n  a: &a {comand: [x]}\n  b: *a\n  c: *a\n")) == 1


def test_billion_laughs_are_cut_short() -> None:
    lines = ["servers: {}", "a: &a [" + ", ".join("x" * 9) + "]"]
    lines += [
        f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]"
        for before, this in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    found = problems("\n".join(lines))
    assert "more than 100000 values" in found[-1]


@pytest.mark.parametrize("text", ["[" * 500_000, "- " * 300_000, "{a: " * 200_000, "? " * 300_000])
def test_deep_nesting_is_cut_short(text: str) -> None:
    assert len(problems(text)) == 1


def test_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(ConfigError) as caught:
            load(path, ENV)
        assert "can't be read" in str(caught.value)


def test_referenced_file_must_be_small_text(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"c" * (64 * 1024 + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    text = "servers:\n  a: {command: ['${file:large}', '${file:binary}']}\n"
    found = problems(text, tmp_path / "concento.yaml")
    assert ["larger than 64 KiB" in found[0], "not UTF-8" in found[1]] == [True, True]
