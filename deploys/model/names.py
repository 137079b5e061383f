"""Names, addresses and ids that people type: one rule each, checked before any connection is made."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

_AGENT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PROVIDER = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_SSH_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+@~-]{0,255}")
_API_KEY = re.compile(r"[0-9a-f]{64}")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")  # RFC 3986, 2.2 and 2.3

#: Accounts that a Debian or Ubuntu system has, or gets with common packages (base-passwd and sysusers.d).
#: An account that exists on the host and is not ours is refused there too; this list answers before a connection.
RESERVED_ACCOUNTS = frozenset(
    [
        "root",
        "daemon",
        "bin",
        "sys",
        "sync",
        "games",
        "man",
        "lp",
        "mail",
        "news",
        "uucp",
        "proxy",
        "www-data",
        "backup",
        "list",
        "irc",
        "gnats",
        "nobody",
        "sshd",
        "messagebus",
        "systemd-network",
        "systemd-resolve",
        "systemd-timesync",
        "systemd-coredump",
        "systemd-oom",
        "polkitd",
        "syslog",
        "uuidd",
        "tcpdump",
        "landscape",
        "pollinate",
        "tss",
        "usbmux",
        "lxd",
        "dnsmasq",
        "avahi",
        "cups-pk-helper",
        "saned",
        "colord",
        "geoclue",
        "pulse",
        "gdm",
        "sssd",
        "admin",
        "sudo",
        "adm",
        "wheel",
        "staff",
        "users",
        "docker",
        "clm",
        "xclm",
        "ubuntu",
        "debian",
        "ec2-user",
        "azureuser",
        "vagrant",
        "pi",
        "postgres",
        "mysql",
        "redis",
        "nginx",
        "hermes-agents",
    ]
)


class InvalidName(ValueError):
    """A name that cannot be used; the text says what is wrong and what is allowed."""


def agent_name(value: str) -> str:
    """
    Check the name of an agent, which is also its account on the host.

    Lowercase letter first, then lowercase letters, digits, ``_`` and ``-``, 32 characters at most (useradd(8)
    refuses more). Names of system accounts are refused.
    """
    if not value:
        raise InvalidName("Name cannot be empty")
    if len(value) > 32:
        raise InvalidName(f"Name must be 32 characters or less (got {len(value)})")
    if not _AGENT.fullmatch(value):
        raise InvalidName(
            f"Name {value!r} must start with a lowercase letter and contain only lowercase letters, digits, "
            "hyphens, and underscores"
        )
    if value in RESERVED_ACCOUNTS:
        raise InvalidName(f"Name {value!r} collides with a reserved Unix account; choose a different name")
    if value.startswith("install-"):
        # hermes-install-NAME.service is the unit in which agent NAME gets a release from upstream's installer.
        raise InvalidName(f"Name {value!r} must not start with install-: systemd units of installations are called so")
    return value


def host_name(value: str) -> str:
    """Check a host's immutable name: the first component of its agents' secrets key, so no colons or slashes."""
    if not _HOST.fullmatch(value):
        raise InvalidName(
            f"Host name {value!r} must start with a letter or digit and contain only letters, digits, dots, hyphens "
            "and underscores, 64 characters at most"
        )
    return value


def provider_name(value: str) -> str:
    """Check the name that a user gives to a configured provider."""
    if not _PROVIDER.fullmatch(value):
        raise InvalidName(
            f"Provider name {value!r} must start with a letter, contain only alphanumeric characters, underscores, "
            "or hyphens, and be 1-64 characters long."
        )
    return value


def ssh_user(value: str) -> str:
    """Check a login name for SSH."""
    if not _SSH_USER.fullmatch(value):
        raise InvalidName(f"SSH user {value!r} is not a login name")
    return value


def address(value: str) -> str:
    """Check a host's address: a DNS name, an IPv4 address or an IPv6 address (without brackets)."""
    _, mark, zone = value.partition("%")
    if mark and not _ZONE.fullmatch(zone):  # ipaddress takes any text for a zone, line ends too
        raise InvalidName(f"Address {value!r} has no valid zone")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    labels = value.removesuffix(".").split(".")
    # Resolvers read a name whose last part is a number as an IPv4 address: 0x7f.1 is 127.0.0.1.
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1]):
        raise InvalidName(f"Address {value!r} is not a valid IPv4 address")
    if len(value) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidName(f"Address {value!r} is neither a host name nor an IP address")
    return value


def model_id(value: str) -> str:
    """Check the id of a model as a provider names it."""
    if not _MODEL.fullmatch(value):
        raise InvalidName(
            f"Model {value!r} may contain letters, digits and _ . : / + @ ~ - only, must start with a letter or digit, "
            "and be 256 characters at most"
        )
    return value


def port(value: int) -> int:
    """Check a TCP port that a program without privileges may listen on or a server may use."""
    if not 1 <= value <= 65535:
        raise InvalidName(f"Port {value} is not between 1 and 65535")
    return value


def http_url(value: str) -> str:
    """
    Check an http(s) URL and return it without a trailing slash.

    Credentials inside the URL, a query and a fragment are refused: the first would be a secret in the open, the
    others have no meaning in an API's base URL.
    """
    if any(ord(c) <= 32 or ord(c) == 127 for c in value):
        raise InvalidName("URL contains a space or a control character")
    if not _URL.fullmatch(value):
        raise InvalidName("URL contains a character that must be percent-encoded")
    try:
        parts = urlsplit(value)
    except ValueError:
        raise InvalidName("URL has no valid host") from None
    # Until user name and query are ruled out, the value may hold a credential and is not repeated.
    if parts.scheme not in ("http", "https"):
        raise InvalidName("URL must start with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise InvalidName("URL must not contain a user name or password; give the key as a secret instead")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise InvalidName("URL must not have a query or a fragment")
    try:
        host, number = parts.hostname, parts.port
    except ValueError:
        raise InvalidName(f"URL {value!r} has no valid port") from None
    if not host:
        raise InvalidName(f"URL {value!r} has no host")
    address(host)
    if number is not None:
        port(number)
    if _is_link_local(host):
        raise InvalidName(f"URL {value!r} points at a link-local address")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _is_link_local(host: str) -> bool:
    # Where clouds hand out credentials to whoever asks.
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_link_local


def is_api_server_key(value: str) -> bool:
    """Tell whether a value has the shape of HERMES_API_SERVER_KEY: 64 lowercase hexadecimal digits."""
    return bool(_API_KEY.fullmatch(value))
