"""Which URLs point to the public internet, by their writing alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.addresses import is_public


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://8.8.8.8/a.png",
        "https://EXAMPLE.com./a.png?at=127.0.0.1",
        "https://user:secret@example.com:8443/a",
        "https://[2606:4700:4700::1111]/a",
        "https://bücher.example/a",
        "https://local.example.com/a",
        "https://10.example.com/a",
    ],
)
def test_a_public_host_is_public(url: str) -> None:
    assert is_public(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "169.254.43518",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
        "[fc00::1]",
        "[64:ff9b:1::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[fec0::1]",
        "192.0.0.192",
    ],
)
def test_a_private_address_is_not_public_however_it_is_written(host: str) -> None:
    assert not is_public(f"http://{host}/a.png")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1%00.example.com",
        "kubernetes.default.svc",
        "metadata.goog",
        "metadata.tencentyun.com",
        "127.0.0.1.traefik.me",
        "make-127-0-0-1.1u.ms",
        "something.onion",
        "1.0.0.127.in-addr.arpa",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "metadata",
        "instance-data",
        "db.lan",
        "router.home.arpa",
        "host.docker.internal",
        "svc.cluster.local",
        "127.0.0.1.nip.io",
        "10-0-0-1.sslip.io",
        "a.localtest.me",
    ],
)
def test_a_name_of_this_machine_or_its_neighbours_is_not_public(host: str) -> None:
    assert not is_public(f"https://{host}:8080/a.png")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///a.png",
        "http://example.com\\@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1#@example.com/",
        "http://exa mple.com/",
        "http://example.com\n/",
        "http://１２７.0.0.1/",
        "http://a.ⓛocalhost/",
        "http://a.local\u00adhost/",
        "http://127。0。0。1/",
        "http://a%2elocal%68ost/",
        "http://%6c%6fcalhost/",
        "http://[::1/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://example..com/",
    ],
)
def test_a_url_that_parsers_read_differently_is_not_public(url: str) -> None:
    assert not is_public(url)


@given(st.ip_addresses(v=4), st.sampled_from(["{a}.{b}.{c}.{d}", "{n}", "{n:#x}", "{a:#x}.{b}.{c}.{d:#x}", "0{n:o}"]))
def test_every_notation_of_an_address_is_judged_alike(address: object, notation: str) -> None:
    number = int(address)  # pyright: ignore[reportArgumentType, reportCallIssue]
    a, b, c, d = number.to_bytes(4, "big")
    written = notation.format(a=a, b=b, c=c, d=d, n=number)

    assert is_public(f"http://{written}/") == is_public(f"http://{address}/")


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert is_public(f"http://{text}") in (True, False)


def test_a_name_of_millions_of_labels_is_refused_at_once() -> None:
    started = time.perf_counter()

    assert not is_public(f"http://{'a.' * 2_000_000}com/")
    assert time.perf_counter() - started < 5
