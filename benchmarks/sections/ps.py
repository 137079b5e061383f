"""The whole fleet in one screen."""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ThreadPoolExecutor

from ..report import Row, Section, times
from ..rounds import cost, interleave
from ..world import Host, World

_MANY = (1, 4, 10, 20)
_SOME_FAILED = 10
_KEPT = {"CLM_SSH_PERSIST": "60"}


def measure(world: World, runs: int) -> Section:
    """Up to 20 hosts, and four of which one is dead."""
    desk, hosts = world.fleet()

    def words(n: int, first: int = 0) -> list[str]:
        return ["ps", *(word for host in hosts[first : first + n] for word in ("--host", host.name))]

    def again(n: int) -> float:
        return desk.clm(*words(n), **_KEPT)

    again(_MANY[-1])
    first_looks = {str(n): lambda n=n: desk.clm(*words(n)) for n in _MANY}
    second_looks = {f"{n} again": lambda n=n: again(n) for n in _MANY}
    series = interleave({"ssh": lambda: world.ssh(hosts[0], "true"), **first_looks, **second_looks}, runs)
    counts = {n: desk.probe("clm", *words(n)) for n in _MANY}
    section = Section(
        "`clm ps`",
        "One agent per host, whole processes, every host asked now. The hosts share the control machine's cores. "
        "Again: over the connections that the look before left open; all others connect anew. Dead: the network cable "
        "of one host of four is pulled; frozen: its processes are stopped, so it accepts the connection and never says "
        "a word.",
    )
    ssh = series["ssh"]
    section.rows.append(Row("`ssh host true`", ssh, "1", {"connections": 1, "execs": 1, "uploads": 0}))
    for n in _MANY:
        seconds = series[str(n)]
        title = f"{n} host{'s' if n > 1 else ''}"
        section.rows.append(Row(title, seconds, times(seconds.ratio(ssh), "`ssh host true`"), counts[n]))
        kept = series[f"{n} again"]
        # What goes over a connection that is open already the probe cannot tell: it counts starts of ssh.
        section.rows.append(Row(f"{title}, again", kept, times(kept.ratio(seconds), "the first look")))
    costs = [cost(lambda: desk.clm(*words(_MANY[-1]))) for _ in range(runs)]
    own, whole = (statistics.median(getattr(c, name) for c in costs) for name in ("own", "machine"))
    processors = os.cpu_count() or 1
    section.notes.append(
        f"Processor seconds of one `clm ps` over {_MANY[-1]} hosts: {whole:.1f} of the whole machine. clm and its ssh "
        f"took {own:.1f} of them; the rest is sshd, script and daemon of the hosts, which elsewhere have processors of "
        f"their own. On {processors} processors clm's part alone takes {own / processors:.1f} s."
    )
    # The key exchange that OpenSSH 9.2 prefers costs it some 70 ms; from 9.9 on it has one that costs next to nothing.
    with ThreadPoolExecutor() as pool:
        list(pool.map(_plain_exchange, hosts))
    ssh_plain, plain = interleave(
        {"ssh": lambda: world.ssh(hosts[0], "true"), "ps": lambda: desk.clm(*words(_MANY[-1]))}, runs
    ).values()
    section.rows.append(Row("`ssh host true`, key exchange curve25519-sha256", ssh_plain))
    ratio = times(plain.ratio(ssh_plain), "that")
    section.rows.append(Row(f"{_MANY[-1]} hosts, key exchange curve25519-sha256", plain, ratio))
    machine = hosts[3].machine
    for title, breaks, mends in (
        ("4 hosts, one of them dead", machine.unplug, machine.plug),
        ("4 hosts, one of them frozen", machine.pause, machine.resume),
    ):
        breaks()
        try:
            broken = interleave(
                {
                    "all live": lambda: desk.clm(*words(4, first=4)),
                    "one does not": lambda: desk.clm(*words(4), expect=_SOME_FAILED),
                },
                runs,
            )
        finally:
            mends()
            world.wait_for(hosts[3])
        seconds = broken["one does not"]
        section.rows.append(Row(title, seconds, times(seconds.ratio(broken["all live"]), "4 hosts that live")))
    return section


def _plain_exchange(host: Host) -> None:
    """Have a host's sshd leave out sntrup761 for the rest of the run."""
    host.machine.ssh("echo KexAlgorithms curve25519-sha256 >/etc/ssh/sshd_config.d/kex.conf && systemctl reload ssh")
