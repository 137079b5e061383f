"""What the observing script printed on hosts of the lab, shortened; a test adds or spoils lines."""

from __future__ import annotations

from pyinfra_hermes.facts.script import ACCOUNT_COMMENT, RELEASES

DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

HOST = f"""\
host uid 0
host os debian
host os_version 12
host arch x86_64
host uptime 5000
host boot_id b6bdd023-8c0b-44ff-a12c-dd985f86c17a
host systemd 252
host memory_mib 24105
host free_mib:/ 78748
host free_mib:/opt 70000
host free_mib:/home 60000
host free_mib:/etc 50000
host free_mib:/var 40000
host free_mib:/tmp 30000
host tool:rg /usr/bin/rg
host tool:python3 /usr/bin/python3
host python 3.11
listener 127.0.0.1 8642 4711
listener [::] 22 100
path slice|regular file|644|root|root|80|{DIGEST}
release {{"id": "v2026.5.7-wheel-481e9e99", "version": "0.13.0", "calver": "2026.5.7", "python": "3.11"}}
""".splitlines()

AGENT = f"""\
agent maurice
path unit|regular file|644|root|root|2345|{DIGEST}
set_leaves [["model", "provider"], ["mcp_servers", "jira.example"]]
linger yes
unit LoadState=loaded
unit ActiveState=active
unit SubState=running
unit UnitFileState=enabled
unit NRestarts=0
unit Result=success
unit ExecMainStatus=0
unit MainPID=4711
unit NeedDaemonReload=no
unit MemoryCurrent=104857600
unit ActiveEnterTimestamp=Sun 2026-11-22 17:00:00 UTC
unit ActiveEnterTimestampMonotonic=4000000000
account maurice:x:997:996:{ACCOUNT_COMMENT}:/home/maurice:/usr/sbin/nologin
processes 3 1
path home|directory|700|maurice|maurice|4096|-
own path hermes|directory|700|maurice|maurice|4096|-
own path env|regular file|600|maurice|maurice|200|{DIGEST}
own path config|regular file|600|maurice|maurice|120|{DIGEST}
own path memories|directory|700|maurice|maurice|4096|-
own path code|symbolic link|777|maurice|maurice|46|{RELEASES}/v2026.5.7-wheel-481e9e99
own leaf {DIGEST} ["model", "provider"]
own leaf {DIGEST} ["mcp", "a|b c"]
own variable {DIGEST} API_SERVER_KEY
own credential ["openrouter", "env:OPENROUTER_API_KEY"]
own contents {DIGEST} {DIGEST} -
own env_port 8642
own env_key valid
own answer health 200 {{"status": "ok", "platform": "hermes-agent"}}
own answer detailed 200 {{"platforms": {{"api_server": {{"state": "connected"}}, "odd": 3, "irc": {{}}}}}}
own answer models 200 {{"object": "list", "data": []}}
own whole

""".splitlines()

TRACE = ["agent old", "path unit|regular file|644|root|root|10|-", "unit LoadState=loaded", "unit ActiveState=failed"]

WHOLE = [*HOST, *AGENT, *TRACE, "agent nobody-here", "end"]
