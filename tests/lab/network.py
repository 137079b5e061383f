"""The bridge of one lab run: a private network between this machine and its hosts, with no way out of it."""

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.tools import LabUnavailable


@dataclass(frozen=True)
class Bridge:
    """A bridge of this machine, which has the first address of its network."""

    name: str
    network: ipaddress.IPv4Network

    @property
    def address(self) -> str:
        """This machine's address on the bridge: where hosts reach the stand-in model server."""
        return str(self.network[1])

    def host_address(self, number: int) -> str:
        """The address of the host with this number, counted from 1."""
        if not 1 <= number <= 250:
            raise LabUnavailable(f"a lab has room for 250 hosts, this would be number {number}")
        return str(self.network[number + 1])

    def create(self) -> None:
        """Make the bridge and give it its address."""
        _ip("link", "add", self.name, "type", "bridge", "forward_delay", "0")
        _ip("address", "add", f"{self.address}/{self.network.prefixlen}", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def delete(self) -> None:
        """Remove the bridge and whatever is still plugged into it."""
        ports = Path(f"/sys/class/net/{self.name}/brif")
        for port in list(ports.iterdir()) if ports.is_dir() else []:
            delete_link(port.name)
        delete_link(self.name)


def link_exists(name: str) -> bool:
    """Whether this machine has a network interface of this name."""
    return Path(f"/sys/class/net/{name}").exists()


def delete_link(name: str) -> None:
    """Remove an interface; one that is already gone is no error."""
    if link_exists(name):
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def set_link(name: str, up: bool) -> None:
    """Switch an interface on or off, as pulling a cable does."""
    _ip("link", "set", name, "up" if up else "down")


def free_network() -> ipaddress.IPv4Network:
    """A 10.x.y.0/24 that nothing on this machine uses or routes. Hold the lab's lock until it is taken."""
    used = list(_used_networks())
    for second in range(83, 128):
        for third in range(256):
            candidate = ipaddress.IPv4Network(f"10.{second}.{third}.0/24")
            if not any(candidate.overlaps(network) for network in used):
                return candidate
    raise LabUnavailable("no free 10.x.y.0/24 network between 10.83 and 10.127 on this machine (see: ip route)")


def _used_networks() -> Iterator[ipaddress.IPv4Network]:
    for interface in json.loads(_ip("-json", "-4", "address", "show")):
        for entry in interface.get("addr_info", []):
            yield ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network
    routes: list[dict[str, Any]] = json.loads(_ip("-json", "-4", "route", "show", "table", "all"))
    for route in routes:
        if route["dst"] != "default":
            yield ipaddress.IPv4Network(route["dst"], strict=False)
    resolver = Path("/etc/resolv.conf")
    for line in resolver.read_text().splitlines() if resolver.exists() else []:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
            yield ipaddress.IPv4Network(words[1])


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabUnavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
