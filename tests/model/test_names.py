"""Every name that people type is accepted whole or refused, and a refusal repeats no credential."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.names import InvalidName

CHECKS = (
    names.agent_name,
    names.host_name,
    names.provider_name,
    names.ssh_user,
    names.address,
    names.model_id,
    names.http_url,
)


@pytest.mark.parametrize("value", ["a", "maurice", "a" * 32, "a-b_c9", "x" + "-" * 31])
def test_an_agents_name_is_an_account_name(value: str) -> None:
    assert names.agent_name(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-rf",
        "_x",
        "9a",
        "A",
        "Maurice",
        "a" * 33,
        "a.b",
        "a b",
        "a\n",
        "\na",
        "a\0",
        "maürice",
        "а",
        "a/b",
        "../a",
        "a:b",
        "a$",
        # hermes-install-maurice.service is the unit of an installation for agent maurice.
        "install-maurice",
    ],
)
def test_anything_else_is_no_agents_name(value: str) -> None:
    with pytest.raises(InvalidName):
        names.agent_name(value)


@pytest.mark.parametrize("value", ["root", "nobody", "www-data", "sshd", "systemd-network", "clm", "xclm", "sudo"])
def test_system_accounts_are_reserved(value: str) -> None:
    with pytest.raises(InvalidName, match="reserved"):
        names.agent_name(value)


def test_every_reserved_account_would_else_be_accepted() -> None:
    # A misspelt entry with a comma or a capital would reserve nothing.
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name) for name in names.RESERVED_ACCOUNTS)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("good", ["a", "maurice"])
@pytest.mark.parametrize("spoilt", ["{}\n", "{}\r", "\n{}", "{}\0", " {}", "{} ", "-{}", "{}\u2028", "{}é"])
def test_no_check_is_fooled_by_what_stands_around_a_good_name(check: object, good: str, spoilt: str) -> None:
    with pytest.raises(InvalidName):
        check(spoilt.format(good))  # type: ignore[operator]


@given(st.text(max_size=80))
def test_what_a_check_accepts_is_one_printable_word_of_ascii(text: str) -> None:
    for check in CHECKS:
        try:
            accepted = check(text)
        except InvalidName:
            continue
        assert re.fullmatch(r"[!-~]+", accepted), check
        assert not accepted.startswith("-"), check


@pytest.mark.parametrize("value", ["h" * 64, "wolf-i", "10.0.0.1", "a.b_c"])
def test_a_hosts_name(value: str) -> None:
    assert names.host_name(value) == value


@pytest.mark.parametrize("value", ["h" * 65, "a:b", "a/b", ".a", "_a", ""])
def test_a_hosts_name_would_break_the_key_of_its_secrets(value: str) -> None:
    with pytest.raises(InvalidName):
        names.host_name(value)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("example.org", "example.org"),
        ("example.org.", "example.org."),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("a" * 63, "a" * 63),
    ],
)
def test_an_address_is_brought_to_its_normal_form(value: str, normal: str) -> None:
    assert names.address(value) == normal


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "[::1]",
        "::g",
        "1:2",
        "256.0.0.1",
        "1.2.3",
        "1.2.3.04",
        "a_b",
        "user@host",
        "host:22",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "-oProxyCommand=id",
        "fe80::1%",
        "fe80::1%a b",
        "fe80::1%\nProxyCommand id",
        "fe80::1%$(id)",
        "fe80::1%eth0%eth1",
    ],
)
def test_what_is_no_address(value: str) -> None:
    with pytest.raises(InvalidName):
        names.address(value)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("http://h", "http://h"),
        ("https://h/", "https://h"),
        ("http://h:11434/v1//", "http://h:11434/v1"),
        ("HTTPS://h/A/B", "https://h/A/B"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://h:65535/a%20b", "http://h:65535/a%20b"),
    ],
)
def test_a_url_loses_only_its_last_slash(value: str, normal: str) -> None:
    assert names.http_url(value) == normal


@pytest.mark.parametrize(
    "value",
    [
        "",
        "h",
        "h:80",
        "ftp://h",
        "file:///etc/passwd",
        "http:h",
        "http://",
        "http:///v1",
        "http://:80",
        "//h/v1",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h:-1",
        "http://h:٣",
        "http://a b",
        "http://h/a\nb",
        "http://h\t",
        "http://[::1",
        "http://::1",
        "http://[::g]",
        "http://a℀b",
        "http://h/ü",
        "http://h/${HOME}",
        'http://h/"',
        "http://h\\@x",
        "http://-h",
        "http://a..b",
        "http://h,x",
        "http://h/?",
        "http://h/?a=b",
        "http://h/#",
        "http://h#a",
        "http://h/v1?",
        "javascript:1",
    ],
)
def test_what_is_no_base_url(value: str) -> None:
    with pytest.raises(InvalidName):
        names.http_url(value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "[fe80::1]",
        "[FE80::1]",
        "[febf::1]",
        "[fe80::1%25eth0]",
        "[::ffff:169.254.169.254]",
    ],
)
def test_a_url_does_not_lead_to_a_link_local_address(host: str) -> None:
    with pytest.raises(InvalidName, match="link-local"):
        names.http_url(f"http://{host}/latest")


@pytest.mark.parametrize(
    "value",
    [
        "http://hunter2@h",
        "http://u:hunter2@h",
        "http://:hunter2@h/",
        "ftp://u:hunter2@h",
        "u:hunter2@h",
        "http://u:hunter2@[::1",
        "http://h?api_key=hunter2",
        "http://h/#hunter2",
        "http://u:hunter2@h:x",
        "http://u:hunter2@h/?q",
        "//u:hunter2@h",
        "http://u:hunter2@h /",
        "http://u:hunter2@ü",
    ],
)
def test_a_credential_in_a_url_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(InvalidName) as caught:
        names.http_url(value)
    assert "hunter2" not in str(caught.value)


@given(st.text(alphabet="htps:/.[]@?#%1a \n\\é", max_size=30).map(lambda tail: f"http://{tail}"))
def test_any_text_is_a_url_or_an_invalid_name(text: str) -> None:
    try:
        accepted = names.http_url(text)
    except InvalidName:
        return
    assert names.http_url(accepted) == accepted
    assert "@" not in accepted.split("/")[2]


@pytest.mark.parametrize("value", ["llama3.1:8b", "meta-llama/Llama-3.3-70B", "a" * 256, "gpt-4o@2024", "x~y+z"])
def test_a_models_id(value: str) -> None:
    assert names.model_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "a" * 257, "/etc/passwd", ".a", "a b", "${HOME}", "a;b", "a'b", 'a"b', "a\\b", "a{b"]
)
def test_what_is_no_models_id(value: str) -> None:
    with pytest.raises(InvalidName):
        names.model_id(value)


@pytest.mark.parametrize("value", [0, -1, 65536])
def test_a_port_out_of_range(value: int) -> None:
    with pytest.raises(InvalidName):
        names.port(value)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("0f" * 32, True),
        ("0F" * 32, False),
        ("0f" * 32 + "\n", False),
        ("0f" * 31, False),
        ("", False),
        ("٠" * 64, False),
    ],
)
def test_the_shape_of_the_api_servers_key(value: str, good: bool) -> None:
    assert names.is_api_server_key(value) is good


@pytest.mark.parametrize("value", ["0x7f.1", "0xa9fea9fe", "10.0.0.0x1", "a.1", "2130706433"])
def test_a_name_that_resolvers_read_as_a_number_is_refused(value: str) -> None:
    with pytest.raises(names.InvalidName):
        names.address(value)
