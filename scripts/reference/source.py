"""What is said in the source beside the values: docstrings of constants, texts of messages."""

import ast
from itertools import pairwise
from pathlib import Path
from typing import Final

from concento.model import limits

SOURCE: Final = Path(__file__).resolve().parents[2] / "src" / "concento"


def attribute_docs(file: str) -> dict[str, str]:
    """The string below each assignment of a module or of its classes, by name, without line breaks."""
    found: dict[str, str] = {}
    tree = ast.parse((SOURCE / file).read_text())
    for body in (tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))):
        for node, following in pairwise(body):
            match node, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def said(node: ast.expr) -> str:
    """The text of a string in source, limits filled in, an ellipsis for what is only known at run time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(said(part) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)) if hasattr(limits, name):
            return f"{getattr(limits, name)}"
        case ast.FormattedValue():
            return "…"
        case _:
            return ""
