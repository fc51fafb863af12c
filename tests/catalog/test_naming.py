"""Public names and URIs: pure functions of the configuration and the server's own names (docs/decisions/0004)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from concento.catalog.names import Naming, may_be_bare, public_name
from concento.catalog.uris import publish_template, publish_uri, resolve_uri

ALIASES = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
OWN = st.text(min_size=1, max_size=200)
ALLOWED = re.compile(r"[A-Za-z0-9_-]+")


@given(ALIASES, OWN, st.integers(16, 128))
def test_a_name_is_short_enough_and_of_allowed_characters(alias: str, own: str, chars_max: int) -> None:
    naming = Naming(chars_max, frozenset({alias}))
    for prefixed in (True, False):
        name = public_name(alias, own, naming, prefixed=prefixed)
        assert ALLOWED.fullmatch(name)
        assert len(name) <= chars_max


@given(st.lists(st.tuples(ALIASES, OWN), min_size=2, max_size=20, unique=True))
def test_two_tools_never_share_a_name(tools: list[tuple[str, str]]) -> None:
    naming = Naming(48, frozenset(alias for alias, _ in tools))
    names = [public_name(alias, own, naming) for alias, own in tools]
    assert len(set(names)) == len(names)


@given(ALIASES, st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True), st.sets(ALIASES))
def test_a_name_does_not_depend_on_the_other_servers(alias: str, own: str, others: set[str]) -> None:
    alone = public_name(alias, own, Naming(48, frozenset({alias})))
    assert alone == public_name(alias, own, Naming(48, frozenset({alias, *others})))


def test_plain_names_are_readable() -> None:
    assert public_name("git", "git_status", Naming()) == "git__git_status"
    assert public_name("git", "status", Naming(), prefixed=False) == "status"


def test_prefix_tricks_end_in_a_hash() -> None:
    naming = Naming(48, frozenset({"a", "git"}), frozenset({"search"}))
    assert public_name("a", "git__status", naming, prefixed=False) != "git__status"
    assert public_name("a", "search", naming, prefixed=False) != "search"
    altered = public_name("a", "x.y", naming)
    assert altered != "a__x_y"
    assert public_name("a", altered.removeprefix("a__"), naming) != altered


def test_an_unaltered_name_never_ends_like_a_hash() -> None:
    """Or a server without prefix could choose a name whose altered form is another's."""
    for own in ("deadbeef", "x_deadbeef"):
        assert public_name("a", own, Naming()) != f"a__{own}"
    assert public_name("a", "deadbeef", Naming(), prefixed=False) == "deadbeef"


@given(st.lists(st.tuples(ALIASES, OWN), min_size=1, max_size=10, unique=True), st.integers(16, 128))
def test_a_server_without_prefix_takes_no_name_of_the_others(tools: list[tuple[str, str]], chars_max: int) -> None:
    naming = Naming(chars_max, frozenset(alias for alias, _ in tools))
    bare = tools[0][0]
    names = [public_name(alias, own, naming, prefixed=alias != bare) for alias, own in tools]
    others = {public_name(alias, own, naming) for alias, own in tools if alias != bare}
    tricks = {public_name(bare, name, naming, prefixed=False) for name in others}
    assert len(set(names)) == len(names)
    assert not tricks & others


@given(ALIASES, OWN, st.sets(ALIASES))
def test_what_may_be_bare_covers_every_bare_name(alias: str, own: str, others: set[str]) -> None:
    aliases = frozenset({alias, *others})
    assert may_be_bare(public_name(alias, own, Naming(48, aliases), prefixed=False), aliases)


def test_a_rename_goes_through_the_same_rule() -> None:
    assert public_name("a", "old", Naming(), wanted="new") == "a__new"
    assert public_name("a", "old", Naming(), wanted="n w").startswith("a__n_w_")


URIS = st.one_of(
    st.text(max_size=100),
    st.from_regex(r"[a-z][a-z0-9+.-]{0,8}://[^\s]{0,40}", fullmatch=True),
    st.sampled_from(
        [
            "file:///x",
            "concento://a!/b",
            "s://x!y/z",
            "urn:isbn:1",
            "data:,a%20b",
            "",
            "://",
            "a://b!c://d",
            "skill://x/SKILL.md",
            "skill:///x",
            "skill://x!/y",
        ]
    ),
)


@given(ALIASES, URIS)
def test_a_published_uri_resolves_to_its_owner(alias: str, uri: str) -> None:
    assert resolve_uri(publish_uri(alias, uri)) == (alias, uri)


def test_published_uris_look_like_the_contract_says() -> None:
    assert publish_uri("docs", "s://authority/p") == "s://docs!authority/p"
    assert publish_uri("docs", "file:///x") == "file://docs!/x"
    assert publish_uri("docs", "urn:x") == "concento://docs!/urn%3Ax"
    assert publish_uri("docs", "skill://refunds/SKILL.md") == "skill://docs!/refunds/SKILL.md"
    assert publish_template("docs", "skill://{name}/SKILL.md") == "skill://docs!/{name}/SKILL.md"
    assert resolve_uri("skill://docs!refunds/SKILL.md") is None
    assert resolve_uri("file:///x") is None
    assert resolve_uri("file://UPPER!/x") is None


@given(ALIASES, st.from_regex(r"[a-z0-9-]{1,10}", fullmatch=True))
def test_expanding_a_published_template_resolves_to_the_expanded_one(alias: str, value: str) -> None:
    for template in ("test://item/{id}", "file:///{id}.txt", "urn:{id}", "{id}:rest", "{id}"):
        public = publish_template(alias, template).replace("{id}", value)
        assert resolve_uri(public) == (alias, template.replace("{id}", value))


@given(ALIASES, st.text(max_size=60))
def test_any_template_resolves_to_itself_unexpanded(alias: str, template: str) -> None:
    literal = template.replace("{", "").replace("}", "")
    assert resolve_uri(publish_template(alias, literal)) == (alias, literal)


EXPRESSION = st.sampled_from(["{id}", "{+id}", "{/id}", "{?id}", "{#id}", "{;id*}"])


@given(
    ALIASES, st.lists(EXPRESSION | st.text("ab:/?#%!é ", max_size=6)), st.sampled_from(["s://", "file:///", "X+1://"])
)
def test_a_template_with_a_scheme_expands_and_resolves_exactly(alias: str, parts: list[str], scheme: str) -> None:
    def expand(template: str) -> str:
        """Not RFC 6570, but as blind to what surrounds an expression as that."""
        return re.sub(r"\{[^{}]*\}", lambda match: f"/%20{match[0][1:2]}%2F!//é", template)

    template = scheme + "".join(parts)
    assert resolve_uri(expand(publish_template(alias, template))) == (alias, expand(template))


def test_an_unclosed_brace_is_a_literal() -> None:
    assert publish_template("a", "{abc%41") == "concento://a!/%7Babc%2541"


def test_without_a_scheme_what_an_expansion_encodes_is_decoded_once() -> None:
    """The documented limit of `publish_template`."""
    assert resolve_uri(publish_template("a", "urn:{id}").replace("{id}", "a%20b")) == ("a", "urn:a b")
