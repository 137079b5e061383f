"""Signature Version 4 of AWS, so that a request can be signed without AWS' own libraries."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from .secret import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """An access key, temporary when it has a session token."""

    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None = None


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    moment: str,
) -> dict[str, Secret | str]:
    """
    Return the headers of a request with its signature.

    It is valid for some minutes around ``moment``, a time in UTC like ``20261122T210000Z``.

    ``url`` is as it is sent, its path percent-encoded once. Source: AWS, "Create a signed AWS API request"; the
    path is encoded again there for every service but S3, which this is not for.
    """
    parts = urlsplit(url)
    token = {} if credentials.session_token is None else {"X-Amz-Security-Token": credentials.session_token}
    added: dict[str, Secret | str] = {**headers, "X-Amz-Date": moment, **token}
    plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in added.items()}
    canonical = {name.lower(): " ".join(value.split()) for name, value in {**plain, "Host": parts.netloc}.items()}
    names = ";".join(sorted(canonical))
    query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    request = "\n".join(
        [
            method,
            quote(parts.path or "/", safe="/-_.~"),
            "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query),
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_access_key.reveal()}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={credentials.access_key_id.reveal()}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return {**added, "Authorization": Secret(authorization)}
