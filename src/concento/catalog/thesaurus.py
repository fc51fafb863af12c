"""Words that stand for one another when people speak of tools: what is asked for is seldom called as the tool calls it.

Each line is one meaning. A word may stand in several. Kept short: a wrong neighbour costs more than a missing one.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

_MEANINGS: Final = """
create make add new open start insert register
delete remove drop erase discard purge destroy clear forget wipe trash clean rid
update edit change modify alter revise patch rewrite adjust correct fix
list show enumerate browse overview all available exist have
get fetch read retrieve load view see details show give tell
search find query locate lookup discover hunt
send post deliver publish submit write message tell announce notify share
copy duplicate clone fork
move relocate transfer rename shift
run execute launch start invoke trigger perform
stop halt kill terminate cancel abort end quit
merge combine join unite land
compare diff difference changed changes differ between
undo revert reset restore rollback discard
history log commits past changes timeline earlier previous
author blame contributor who wrote
assign owner responsible delegate hand assignee
approve review sign accept reviewer
comment reply respond note remark answer feedback
close resolve finish complete done
issue ticket bug task problem defect story report
pull request pr merge change proposed contribution
repository repo codebase project
branch fork line
stage commit save checkpoint
file document text
folder directory path disk
email mail message inbox letter
draft unsent compose
attachment file attached enclosed attach
filter rule automatically incoming
calendar schedule agenda appointment meeting event
free busy availability slot
invite guest attendee participant
contact person people user member colleague coworker teammate somebody
channel room chat conversation thread
reaction emoji thumbs
page article document note wiki
webpage site website url link web address
internet web online news
screenshot picture image photo capture
click press tap push button
type fill enter input form
upload hand attach submit
database db sql table
schema structure columns fields layout shape
query sql select statement
slow performance optimize index speed fast
record row entry document item
key value cache cached
expire ttl expiry lifetime
collection table index set
container pod docker
cluster kubernetes k8s
node machine host server
deploy release rollout ship
scale replicas instances
logs output stdout console printed wrote
metric measurement gauge graph chart
dashboard board panel
alert alarm incident notification fired
error exception crash failure trace failed broken
oncall duty rota shift schedule
escalate escalation page responder
mute silence downtime maintenance quiet
customer client buyer account
payment charge bill pay money paid
refund money return
invoice bill
subscription plan recurring monthly
price cost amount
balance funds account
order purchase bought
product item goods sku
coupon discount promotion
stock inventory quantity
route directions way path travel drive
distance far long
place location address coordinates where
nearby restaurant shop places around
weather forecast rain temperature wet sunny snow storm cold warm
air quality pollution
time clock date hour now
timezone zone
convert translate transform turn
song track music tune
play listen resume
pause stop
skip next previous
playlist queue
video youtube clip
transcript subtitles captions spoken said
paper article study preprint publication research
cite citation bibliography references
abstract summary
download save export
upload import attach
remember store save memory keep record
observation fact detail about
relation relationship connection link edge
entity node thing
graph network
light lamp bulb switch
device appliance entity sensor thermostat
turn switch toggle
spreadsheet workbook excel sheet tab
cell range
formula function calculation
chart graph diagram plot
pivot aggregate group summarize
embedding vector similar semantic nearest
module provider terraform infrastructure
plan preview dry
apply carry rollout
documentation docs manual guide reference
latest recent newest
count number many total
summary summarize overview digest
status state progress health condition
permission access share
label tag category
due deadline overdue late
priority urgent important
sprint iteration cycle
epic story backlog
transition workflow status
board list column card
checklist items subtask
block paragraph text content
design mockup frame
color colour style
wait pause sleep until
tab window browser
memory remember recall
think reason step
today now current
pending scheduled stuck
namespace space project workspace
worker script function edge
bucket storage blob
dns domain zone
user profile account whoami
team group organization
vault notes obsidian
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


def every_word() -> Iterable[str]:
    """All words that may stand for others."""
    return _neighbours()


def neighbours(word: str) -> tuple[str, ...]:
    """Words that may stand for one, the nearest first."""
    known = _neighbours()
    forms = (word, *(word.removesuffix(ending) for ending in ("s", "es", "d", "ed", "ing")))
    return next((known[form] for form in forms if form in known), ())
