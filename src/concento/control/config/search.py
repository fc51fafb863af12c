"""Finding tools by what they are for: what may stand in `search:`, and what tools say for it."""

from typing import Final, TypeVar

from ...embedding.contract import NEEDS_EXTRA
from ...embedding.opening import lacks_extra
from ...model.search import Embeddings, Expose, Search
from .kinds import EMPTY, Choice, Items, Key, Keys, Number, Parsed, Reader, Table, Text
from .texts import http_url

T = TypeVar("T")
_SEARCH: Final = Search()

CAPABILITY: Final = Key(
    "capability",
    Text("what it is for, in a sentence", r"[^\x00]{1,1024}"),
    "What it is for, in the words of those who need it: agents find it by them, beside its own name and description.",
    example="search the public web",
)
TAGS: Final = Key(
    "tags",
    Items(Text("a word or two", r"[^\x00-\x1f]{1,64}"), "such as [news, prices]"),
    "More words that it is found by.",
    example="[news, prices]",
)
EXPOSE: Final[Key[Expose]] = Key(
    "expose",
    Choice(("all", "search", "both")),
    "What agents are shown: `all` tools; `search`, the meta-tools `find_tools` and `use_capability` alone, by which "
    "they find and call the others; or `both`.",
    "all",
    example="search",
)
FITS: Final = Key(
    "fits",
    Number(0, 1),
    "How likely, at least, the best tool has to be the right one; below it, the answer is that nothing fits.",
    _SEARCH.fits,
    example="0.2",
)
SURE: Final = Key(
    "sure",
    Number(0, 1),
    "From which likelihood on `use_capability` calls a read-only tool at once; below it, it answers with candidates.",
    _SEARCH.sure,
    example="0.95",
)
URL: Final = Key(
    "url",
    Parsed(Text("a URL, such as https://models.example.com/v1/embeddings", references=True), http_url),
    "An OpenAI-compatible endpoint for embeddings. Tools' names and descriptions and agents' requests are sent there.",
    example="https://models.example.com/v1/embeddings",
)
MODEL: Final = Key("model", Text("the name of a model", r"[^\x00-\x1f]{1,256}"), "The model at `url`.", example="small")
BEARER: Final = Key(
    "bearer",
    Text("a token without spaces", r"[\x21-\x7e]+", references=True),
    "The token for `url`, by reference.",
    example='"${env:API_KEY}"',
)
DIRECTORY: Final = Key(
    "directory",
    Text("a folder", r"[^\x00]+", references=True),
    "The folder of a sentence model (BERT: `model.safetensors`, `tokenizer.json`, `config.json`), which then runs in "
    "the hub. It needs the extra `semantic`.",
    example="models/all-MiniLM-L6-v2",
)
EMBEDDINGS: Final = Key(
    "embeddings",
    Keys("embeddings", URL, MODEL, BEARER, DIRECTORY),
    "Ranks by meaning, beside words: with a model at a `url`, or in a `directory`.",
    example="{directory: models/all-MiniLM-L6-v2}",
)
SEARCH: Final = Key(
    "search",
    Keys("search", FITS, SURE, EMBEDDINGS),
    "How tools are found by what agents need, where `expose` says so.",
    example="{sure: 0.95}",
)


def build_search(root: Table, reader: Reader) -> Search:
    """How tools are found."""
    table = root.get(SEARCH) or EMPTY
    if table[SURE] < table[FITS]:
        reader.problems.add(table.place_of(SURE), "'sure' is below 'fits': what does not fit would be called")
    embeddings = table.get(EMBEDDINGS)
    return Search(table[FITS], table[SURE], None if embeddings is None else _embeddings(embeddings, reader))


def _embeddings(table: Table, reader: Reader) -> Embeddings | None:
    if lacks_extra():
        reader.problems.add(table.place, NEEDS_EXTRA)
    given = table.given(URL, DIRECTORY)
    if len(given) != 1:
        if not table.is_misspelt:
            reader.problems.add(table.place, "embeddings need either 'url' or 'directory'")
        return None
    if given == [URL]:
        if not table.given(MODEL):
            reader.problems.add(table.place_of(URL), "'url' needs 'model': which of its models to ask")
        bearer = table.get(BEARER)
        if bearer is not None:
            reader.references.keep_secret(bearer)
        return Embeddings(url=table.get(URL), model=table.get(MODEL) or "", bearer=bearer)
    for key in table.given(MODEL, BEARER):
        reader.problems.add(table.place_of(key), f"'{key.name}' has no effect without 'url'")
    directory = table.get(DIRECTORY)
    return None if directory is None else Embeddings(directory=reader.references.path(directory))
