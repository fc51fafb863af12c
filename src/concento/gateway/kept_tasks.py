"""The tasks in the state store, and an index of them: whose each is, and until when it is kept.

A principal has so many kept, and the hub in all; the oldest that are over make room.
"""

from collections.abc import Container
from typing import Final

import msgspec
from msgspec import Struct

from ..model.limits import TASKS_KEPT_MAX, TASKS_KEPT_PER_PRINCIPAL_MAX
from ..model.task import TaskState
from ..store.contract import Store

_SPACE: Final = "tasks"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskState).decode


class _Kept(Struct, frozen=True):
    owner: str
    until_s: float


class KeptTasks:
    """All tasks that can be asked for, by the keys that their ids hold."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: dict[str, _Kept] = {}
        """In the order they were made."""

    async def load(self, now_s: float) -> dict[str, TaskState]:
        """Read what an earlier run of the hub left; what is past its time is dropped."""
        states: dict[str, TaskState] = {}
        for key, value in (await self._store.items(_SPACE)).items():
            state = _decode(value)
            if now_s > state.created_s + state.ttl_s:
                await self._store.delete(_SPACE, key)
            else:
                states[key] = state
        for key, state in sorted(states.items(), key=lambda item: item[1].created_s):
            self._index[key] = _Kept(state.owner, state.created_s + state.ttl_s)
        return states

    async def get(self, key: str) -> TaskState | None:
        """One of them."""
        value = await self._store.get(_SPACE, key) if key in self._index else None
        return None if value is None else _decode(value)

    def of(self, owner: str) -> list[str]:
        """The keys of an owner's, the oldest first."""
        return [key for key, kept in self._index.items() if kept.owner == owner]

    async def put(self, key: str, state: TaskState, running: Container[str]) -> None:
        """Keep one; the oldest that is not `running` makes room where there are too many."""
        if key not in self._index:
            own = self.of(state.owner)
            is_full = len(own) >= TASKS_KEPT_PER_PRINCIPAL_MAX
            if is_full or len(self._index) >= TASKS_KEPT_MAX:
                over = next((one for one in (own if is_full else list(self._index)) if one not in running), None)
                if over is not None:
                    await self._drop(over)
        self._index[key] = _Kept(state.owner, state.created_s + state.ttl_s)
        await self._store.put(_SPACE, key, _encode(state))

    async def reap(self, now_s: float, running: Container[str]) -> None:
        """Drop those whose time is up."""
        for key in [key for key, kept in self._index.items() if now_s > kept.until_s and key not in running]:
            await self._drop(key)

    async def _drop(self, key: str) -> None:
        self._index.pop(key, None)
        await self._store.delete(_SPACE, key)
