# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Decompression of what kernels and their modules are packed with, told by the first bytes.

Python's own library has gzip, bzip2, XZ and LZMA. For zstd and LZ4 there are the libraries of
which apt and dpkg are made, so they are where packages can be fetched at all.
"""

from __future__ import annotations

import bz2
import ctypes
import lzma
import zlib
from functools import cache
from typing import TYPE_CHECKING

from .errors import DebianError

if TYPE_CHECKING:
    from collections.abc import Callable

# A library and the package that has it.
_ZSTD = ("libzstd.so.1", "libzstd1")
_LZ4 = ("liblz4.so.1", "liblz4-1")

_CHUNK = 4 << 20
_LZ4_BLOCK = 8 << 20  # what a block of the legacy frame format holds, by its specification
_LZ4_LEGACY = b"\x02\x21\x4c\x18"


def decompress(data: bytes, what: str) -> bytes:
    """The contents of one compressed stream; what follows it is left alone.

    what names the data in messages. Data of no known format is returned as it is.

    Raises DebianError.
    """
    for magic, function in _FORMATS.items():
        if data.startswith(magic):
            try:
                return function(data)
            except (ValueError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise DebianError(
                    f"decompressing {what}: {error}", "it is damaged: fetch it again"
                ) from None
    return data


def require_libraries() -> str:
    """What there is. Raises DebianError if a library is missing."""
    for name, package in (_ZSTD, _LZ4):
        _library(name, package)
    return "their libraries are there"


def _gzip(data: bytes) -> bytes:
    return _whole(zlib.decompressobj(wbits=31), data)


def _bzip2(data: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor(), data)


def _xz(data: bytes) -> bytes:
    return _whole(lzma.LZMADecompressor(), data)


def _whole(
    stream: zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes
) -> bytes:
    contents = stream.decompress(data)
    if not stream.eof:
        raise EOFError("its end is missing")
    return contents


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("position", ctypes.c_size_t),
    )


def _zstd(data: bytes) -> bytes:
    library = _library(*_ZSTD)
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = (ctypes.c_void_p,)
    library.ZSTD_decompressStream.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(_Buffer),
        ctypes.POINTER(_Buffer),
    )
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.restype = ctypes.c_char_p

    source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
    chunk = ctypes.create_string_buffer(_CHUNK)
    contents = bytearray()
    stream = library.ZSTD_createDStream()
    if not stream:
        raise MemoryError("ZSTD_createDStream")
    try:
        while True:
            target = _Buffer(ctypes.addressof(chunk), _CHUNK, 0)
            rest = library.ZSTD_decompressStream(stream, target, source)
            if library.ZSTD_isError(rest):
                raise ValueError(library.ZSTD_getErrorName(rest).decode())
            contents += memoryview(chunk)[: target.position]
            if rest == 0:  # the frame's end
                return bytes(contents)
            if source.position == source.size and target.position < target.size:
                raise EOFError("its end is missing")
    finally:
        library.ZSTD_freeDStream(stream)


def _lz4(data: bytes) -> bytes:
    """The legacy frame format, which the kernel's build uses.

    It has no end mark: blocks of compressed data, each behind its size, up to one that can't be
    (the kernel's build appends the size of the contents) or the next frame's magic.
    """
    library = _library(*_LZ4)
    chunk = ctypes.create_string_buffer(_LZ4_BLOCK)
    contents = bytearray()
    at = len(_LZ4_LEGACY)
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            raise EOFError("its end is missing")
        count = library.LZ4_decompress_safe(data[at : at + size], chunk, size, _LZ4_BLOCK)
        if count < 0:
            raise ValueError(f"a malformed block at byte {at}")
        contents += memoryview(chunk)[:count]
        at += size
    return bytes(contents)


_FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\xfd7zXZ\0": _xz,
    b"]\0\0": _xz,  # LZMA, which LZMADecompressor tells from XZ
    b"\x28\xb5\x2f\xfd": _zstd,
    _LZ4_LEGACY: _lz4,
}


@cache
def _library(name: str, package: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise DebianError(
            f"decompressing a kernel: {error}", f"install the package {package}"
        ) from None
