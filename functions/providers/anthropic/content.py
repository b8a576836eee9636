"""Content parts as content blocks. Source: https://platform.claude.com/docs/en/api/messages/create"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.parts import unsupported_part

_PROVIDER = "anthropic"
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF = "application/pdf"
_FETCHED = ("http://", "https://")
_TEXTS = frozenset({"application/json", "application/xml", "application/x-yaml", "application/javascript"})
_KEPT = ("cache_control", "citations", "title", "context")

# Parts of Anthropic's own, which OpenAI has no word for, pass as they are.
NATIVE_PARTS = frozenset({
    "document", "search_result", "container_upload", "tool_reference", "tool_addition", "tool_removal",
})  # fmt: skip

Block = dict[str, Any]


def blocks_of(content: Any, path: str) -> list[Block]:
    """Give a message's content as blocks; empty texts are left out, as the API refuses them.

    What is to be cached up to one of them is cached up to the block before it.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts: list[dict[str, Any]] = content or []
    blocks: list[Block] = []
    for position, part in enumerate(parts):
        if part.get("type") == "text" and not part["text"]:
            blocks = with_cache_control(blocks, part)
        else:
            blocks.append(_block(part, f"{path}[{position}]"))
    return blocks


def with_cache_control(blocks: list[Block], holder: Mapping[str, Any]) -> list[Block]:
    """Mark the last block, where what holds the blocks asks to be cached."""
    mark = holder.get("cache_control")
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}] if mark and blocks else blocks


def _block(part: Mapping[str, Any], path: str) -> Block:
    kind = part["type"]
    if kind in NATIVE_PARTS:
        return dict(part)
    if kind not in _BLOCKS:
        raise unsupported_part(part, _PROVIDER)
    block = _BLOCKS[kind](part, path)
    for name in _KEPT:
        if part.get(name):
            block[name] = part[name]
    return block


def _text(part: Mapping[str, Any], path: str) -> Block:
    return {"type": "text", "text": part["text"]}


def _refusal(part: Mapping[str, Any], path: str) -> Block:
    return {"type": "text", "text": part["refusal"]}


def _image(part: Mapping[str, Any], path: str) -> Block:
    return _media(part["image_url"]["url"], None, f"{path}.image_url.url", default="image/*")


def _file(part: Mapping[str, Any], path: str) -> Block:
    file: Mapping[str, Any] = part["file"]
    media_type = file.get("format")
    if data := file.get("file_data"):
        block = _media(data, media_type, f"{path}.file.file_data", default=_PDF)
    elif file_id := file.get("file_id"):
        block = _known_file(file_id, media_type, f"{path}.file.file_id")
    else:
        raise BadRequest(f"{path}.file needs file_data or file_id.", param=f"{path}.file")
    if block["type"] == "document" and file.get("filename"):
        block["title"] = file["filename"]
    return block


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any], str], Block]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
}


def _known_file(file_id: str, media_type: str | None, path: str) -> Block:
    """Name an uploaded file: https://platform.claude.com/docs/en/build-with-claude/files; a URL is read as one."""
    if file_id.startswith((*_FETCHED, "data:")):
        return _media(file_id, media_type, path, default=_PDF)
    kind = "image" if (media_type or "").startswith("image/") else "document"
    return {"type": kind, "source": {"type": "file", "file_id": file_id}}


def _media(url: str, media_type: str | None, path: str, *, default: str) -> Block:
    """Give the block of a URL or data URL; a URL's kind is what it is said to be."""
    if url.startswith(_FETCHED):
        kind = "image" if (media_type or default).startswith("image/") else "document"
        return {"type": kind, "source": {"type": "url", "url": url}}
    if not url.startswith("data:"):
        raise UpstreamError("unsupported_content", f"{path} is no URL that {_PROVIDER} fetches")
    head, comma, data = url.partition(",")
    given, *options = head[5:].split(";")
    if not comma or not given or "base64" not in options or not data:
        raise BadRequest(f"{path}: a data URL must be `data:<media type>;base64,<data>`.", param=path)
    return _inline(given.lower(), data, path)


def _inline(media_type: str, data: str, path: str) -> Block:
    if media_type in _IMAGES:
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type == _PDF:
        return {"type": "document", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type.startswith("text/") or media_type in _TEXTS:
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data, path)}
        return {"type": "document", "source": source}
    raise UpstreamError("unsupported_content", f"{media_type} data is not supported by {_PROVIDER} ({path})")


def _decoded(data: str, path: str) -> str:
    try:
        return b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: the data is not base64 of UTF-8 text.", param=path) from error
