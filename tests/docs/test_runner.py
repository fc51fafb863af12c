"""The runner finds what is wrong with a page: each kind of mistake is made once."""

from pathlib import Path

import pytest

from .runner import run_page


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


GOOD = """
<!-- file: concento.yaml -->
```yaml
servers: {}
```

<!-- env: WHO=you -->
```sh
concento check && echo "hello $WHO"
echo one; echo two; echo three
```

```text
… is right
hello you
three
```

<!-- serve -->
```sh
concento serve concento.yaml
```

```sh
curl -fsS http://127.0.0.1:7400/health/ready
echo '# more' >> concento.yaml
```

<!-- no-run: nobody has this program -->
```sh
no-such-program
```
"""

BAD = {
    "a command that fails": ("```sh\nfalse\n```", "ended with 1, not 0"),
    "a command that should fail": ("<!-- exit: 2 -->\n```sh\ntrue\n```", "ended with 0, not 2"),
    "an output that does not come": ("```sh\necho a\n```\n\n```text\nb\n```", "'b' was not printed"),
    "outputs in another order": ("```sh\necho a; echo b\n```\n\n```text\nb\na\n```", "'a' was not printed"),
    "a wrong configuration": ("```yaml\nlisten: here\n```", "1:9: expected HOST:PORT"),
    "broken JSON": ("```json\n{,}\n```", "Expecting property name"),
    "an endpoint that is not there": ('```json\n{"url": "http://127.0.0.1:7400/mpc"}\n```', "where nothing is"),
    "a verb that is not there": ('```json\n{"command": "concento", "args": ["studio"]}\n```', "no verb 'studio'"),
    "a language nobody tries": ("```perl\n1\n```", "nobody tries perl blocks"),
    "a comment that belongs to nothing": ("<!-- exit: 2 -->\n\n```sh\nfalse\n```", "belongs directly above a block"),
    "a hub that does not start": ("<!-- serve -->\n```sh\nconcento serve none.yaml\n```", "ended without"),
}


def test_a_right_page_passes(tmp_path: Path) -> None:
    run_page(page(tmp_path, GOOD), tmp_path)


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_found_and_placed(tmp_path: Path, mistake: str) -> None:
    text, complaint = BAD[mistake]
    with pytest.raises(Exception, match=r".+") as caught:
        run_page(page(tmp_path, text), tmp_path)
    assert complaint in str(caught.value)
