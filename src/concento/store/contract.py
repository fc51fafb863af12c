"""What every keeper of state offers: bytes under a space and a key."""

from typing import Protocol


class Store(Protocol):
    """Keeps bytes. Every method may wait for a disk; none is called on a call's path."""

    async def get(self, space: str, key: str) -> bytes | None:
        """The value, or None."""
        ...

    async def put(self, space: str, key: str, value: bytes) -> None:
        """Keep a value, in place of any before."""
        ...

    async def delete(self, space: str, key: str) -> None:
        """Forget a value, if there is one."""
        ...

    async def items(self, space: str) -> dict[str, bytes]:
        """All values of a space by key."""
        ...

    async def close(self) -> None:
        """Write out what is pending and let go."""
        ...
