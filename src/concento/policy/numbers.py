"""Numbers of cards and bank accounts, told from other numbers by issuer, length and check digits. Pure."""

import re
from typing import Final

_LENGTHS: Final = (
    *((("4",), (16, 19)), (("34", "37"), (15,)), (("36", "38", "39", "300", "301", "302", "303", "304", "305"), (14,))),
    (tuple(str(one) for one in (*range(51, 56), *range(2221, 2721))), (16,)),
    (("6011", "65", *(str(one) for one in range(644, 650))), (16, 19)),
    (tuple(str(one) for one in range(3528, 3590)), (16, 19)),
    (("62",), (16, 19)),
    (("50", "56", "57", "58", "6304", "6759", "6761", "6763"), (16, 19)),
)
"""Of each issuer of cards: how its numbers begin, and how many digits they have."""

_IBANS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""By country: the length of its account numbers."""


def card_span(match: re.Match[str]) -> tuple[int, int] | None:
    """All of a match if it is the number of a card."""
    digits = re.sub(r"[ -]", "", match[0])
    is_issued = any(digits.startswith(begins) and len(digits) in lengths for begins, lengths in _LENGTHS)
    return match.span() if is_issued and _luhn(digits) and len(set(digits)) > 2 else None


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_span(match: re.Match[str]) -> tuple[int, int] | None:
    """As much of a match as is an account's number; what follows it may look as if it belonged to it."""
    length = _IBANS.get(match[0][:2], 0)
    taken, end = "", 0
    for place, character in enumerate(match[0]):
        if character.isalnum():
            taken += character
            if len(taken) == length:
                end = place + 1
                break
    if not end or match[0][end : end + 1].isalnum():
        return None
    number = "".join(str(int(character, 36)) for character in taken[4:] + taken[:4])
    return (match.start(), match.start() + end) if int(number) % 97 == 1 else None
