"""Words that stand for one another when people speak of tools: what is asked for is seldom called as the tool calls it.

Each line is one meaning. A word may stand in several. Kept short: a wrong neighbour costs more than a missing one.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

_MEANINGS: Final = """
create make add new open start insert register set up
delete remove drop erase discard purge destroy clear get rid
update edit change modify alter revise patch rewrite adjust
list show enumerate browse overview all which available
get fetch read retrieve load view see look up details
search find query look locate lookup discover
send post deliver publish submit write message
copy duplicate clone fork
move relocate transfer rename
run execute launch start invoke trigger
stop halt kill terminate cancel abort end
merge combine join unite
compare diff difference changed changes
undo revert reset restore roll back discard
history log commits past changes timeline
author who blame contributor
assign owner responsible delegate hand
approve review sign accept
comment reply respond note remark answer
close resolve finish complete done
issue ticket bug task problem defect story
pull request pr merge request mr
repository repo codebase project
branch fork line
file document text
folder directory path
email mail message inbox letter
draft unsent
attachment file attached enclosed
calendar schedule agenda appointment meeting event
free busy availability open slot
contact person people user member colleague coworker teammate
channel room chat conversation thread
reaction emoji thumbs
page article document note wiki
webpage site website url link web
internet web online
screenshot picture image photo capture
click press tap push
type fill enter input
database db sql table
schema structure columns fields layout
query sql select statement
slow performance optimize index speed
record row entry document item
key value cache
collection table index
container pod docker
cluster kubernetes k8s
deploy release rollout ship
scale replicas
logs output stdout console
metric measurement gauge graph chart
dashboard board panel
alert alarm incident page notification
error exception crash failure stack trace
oncall on-call duty rota shift schedule
customer client buyer account
payment charge bill pay money
refund money back return
invoice bill
subscription plan recurring
price cost amount
order purchase
product item goods sku
coupon discount promotion
route directions way path travel drive
distance far long
place location address coordinates where
weather forecast rain temperature
time clock date hour now
timezone zone
convert translate transform
song track music tune
play listen resume
pause stop
playlist queue
video youtube clip
transcript subtitles captions spoken said
paper article study preprint publication research
cite citation bibliography
download save export
upload import attach
remember store save memory keep
relation relationship connection link edge
entity node
graph network
light lamp bulb switch
device appliance entity sensor
turn switch toggle
spreadsheet workbook excel sheet
cell range
formula function calculation
embedding vector similar semantic nearest
module provider terraform infrastructure
documentation docs manual guide reference
latest recent newest
count number how many total
summary summarize overview digest
status state progress health
permission access share
label tag category
due deadline
priority urgent important
"""

_WORD: Final = re.compile(r"[a-z0-9]+")


@cache
def _neighbours() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for line in _MEANINGS.strip().splitlines():
        words = _WORD.findall(line)
        for word in words:
            found.setdefault(word, {}).update(dict.fromkeys(other for other in words if other != word))
    return {word: tuple(others) for word, others in found.items()}


def neighbours(words: Iterable[str]) -> list[str]:
    """Words that may stand for some of these, and are none of them."""
    given = dict.fromkeys(words)
    known = _neighbours()
    found: dict[str, None] = {}
    for word in given:
        for form in (word, word.removesuffix("s"), word.removesuffix("ing"), word.removesuffix("ed")):
            if form in known:
                found.update(dict.fromkeys(known[form]))
                break
    return [word for word in found if word not in given]
