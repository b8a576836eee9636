"""Tables as CSV (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection


def write_csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Give a header and a line for each; what is missing is empty, lists and objects are JSON.

    A text that a spreadsheet would take for a formula gets a `'` before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_written(line.get(column)) for column in columns] for line in lines)
    return text.getvalue().encode()


def _written(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")  # never in powers of ten
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text
