"""State that ends with the process: for tests, and where nothing may be written."""


class MemoryStore:
    """A `Store` in a dictionary."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, bytes]] = {}

    async def get(self, space: str, key: str) -> bytes | None:
        """The value, or None."""
        return self._spaces.get(space, {}).get(key)

    async def put(self, space: str, key: str, value: bytes) -> None:
        """Keep a value."""
        self._spaces.setdefault(space, {})[key] = value

    async def delete(self, space: str, key: str) -> None:
        """Forget a value."""
        self._spaces.get(space, {}).pop(key, None)

    async def items(self, space: str) -> dict[str, bytes]:
        """All values of a space."""
        return dict(self._spaces.get(space, {}))

    async def close(self) -> None:
        """Nothing to let go."""
