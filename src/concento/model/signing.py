"""How a request proves that it is the hub's, and when it was made: as Stripe does, the HMAC of time and body, so that
it can be neither made up nor sent again later."""

import hashlib
import hmac
from typing import Final

SIGNATURE: Final = "Concento-Signature"


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The value of the header: `t=TIME,v1=HMAC-SHA256(TIME.BODY)`."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"
