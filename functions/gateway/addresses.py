"""Is a URL's host on the public internet? By its writing alone: no name is looked up.

The gateway fetches nothing, a provider or a server of one's own may. Notations of IP addresses are read as browsers do:
https://url.spec.whatwg.org/#concept-ipv4-parser
"""

import ipaddress
import re
from urllib.parse import unquote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNSAFE = re.compile(r"[\x00-\x20\\\x7f]")
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_LONGEST_NAME = 253  # https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
# Networks in which an IPv4 address is written, and such as is_global doesn't know for private.
_CARRYING = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("::ffff:0:0:0/96"),
)
_PRIVATE = (ipaddress.IPv6Network("fec0::/10"), ipaddress.IPv4Network("192.0.0.0/24"))

# Names that stand for this machine or its neighbours, and public ones that resolve to whatever address they contain.
_PRIVATE_NAMES = frozenset({
    "localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "home.arpa", "svc", "cluster",
    "test", "invalid", "onion", "arpa", "metadata.goog", "metadata.tencentyun.com",
})  # fmt: skip
_WILDCARD_NAMES = frozenset({
    "nip.io", "sslip.io", "xip.io", "traefik.me", "1u.ms", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com",
})  # fmt: skip


def is_public(url: str) -> bool:
    """Say whether the URL's host may be public. A URL that parsers read differently is not."""
    if _UNSAFE.search(url):
        return False
    try:
        host = unquote(urlsplit(url).hostname or "")
        if len(host) > _LONGEST_NAME or _UNSAFE.search(host):
            return False
        return _is_public_ipv6(host) if ":" in host else _is_public_name(_ascii(host))
    except ValueError:
        return False


def _ascii(host: str) -> str:
    """Write a name as it is looked up: letters and dots have look-alikes. Raises `ValueError` for what is no name."""
    return host.encode("idna").decode().lower().rstrip(".")


def _is_public_name(host: str) -> bool:
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        address = _ipv4(labels)
        return address is not None and _is_global(address)
    if len(labels) < 2 or not all(labels):
        return False
    ends = {".".join(labels[position:]) for position in range(len(labels))}
    return not ends & (_PRIVATE_NAMES | _WILDCARD_NAMES)


def _is_public_ipv6(host: str) -> bool:
    address = ipaddress.IPv6Address(host.partition("%")[0])
    carried = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if any(address in network for network in _CARRYING) or int(address) >> 32 == 0:
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return _is_global(carried or address)


def _is_global(address: Address) -> bool:
    is_private = any(address in network for network in _PRIVATE)
    return address.is_global and not address.is_multicast and not is_private


def _ipv4(labels: list[str]) -> ipaddress.IPv4Address | None:
    """Read decimal, octal and hexadecimal numbers, of which the last fills what is left: `0x7f.1` is 127.0.0.1."""
    numbers = [_number(label) for label in labels]
    *first, last = numbers
    if len(numbers) > 4 or last is None or any(number is None or number > 255 for number in first):
        return None
    value = last if last < 256 ** (5 - len(numbers)) else None
    if value is None:
        return None
    for position, number in enumerate(first):
        value += (number or 0) << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _number(label: str) -> int | None:
    try:
        if label.startswith("0x"):
            return int(label[2:] or "0", 16)
        return int(label, 8) if label.startswith("0") and len(label) > 1 else int(label)
    except ValueError:
        return None
