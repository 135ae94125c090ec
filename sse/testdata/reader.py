#!/usr/bin/env python3
"""A reader of bucketseal objects, written from docs/format.md alone.

reader.py VECTOR.json ...  reads each vector and says whether the outcome is the one that the vector names.
"""
import base64, hashlib, hmac, json, re, struct, sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Failure(Exception):
    """record, wrong-key, tampered or truncated."""


def lp(x):
    return struct.pack(">I", len(x)) + x


def derive(key, label, *fields):
    message = lp(b"bucketseal/1/" + label) + b"".join(map(lp, fields))
    return hmac.new(key, message, hashlib.sha256).digest()


def fields(raw):
    """Yields (offset, tag, value), refusing what is not canonical."""
    at, last = 0, 0
    while at < len(raw):
        start, tag, at = at, raw[at], at + 1
        length, shift = 0, 0
        while True:
            if at >= len(raw) or shift > 63:
                raise Failure("record")
            byte, at = raw[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag <= last or (byte == 0 and shift > 7) or at + length > len(raw):
            raise Failure("record")
        yield start, tag, raw[at:at + length]
        at, last = at + length, tag


def uvarint(value):
    number = 0
    for i, byte in enumerate(value):
        number |= (byte & 0x7F) << (7 * i)
    return number


def parse(text):
    if len(text) > 4096 or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise Failure("record")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if raw[0] != 1:
        raise Failure("record")
    found, public = {}, b""
    for offset, tag, value in fields(raw[1:]):
        found[tag] = value
        if tag == 0x10:
            public = raw[:1 + offset]
    mode = found.get(1, b"\0")[0]
    need = {1: {1, 2, 3, 5, 7, 8, 16}, 2: {1, 2, 3, 5, 7, 8, 16}, 3: {1, 7, 8, 16}}.get(mode)
    if need and 10 in found:  # of parts: a manifest has the sizes
        need = need - {8} | {9, 10}
    may = {1: {11}, 2: {4, 6}, 3: set()}.get(mode)
    if need is None or not need <= found.keys() <= need | may or len(found[7]) != 80 or found.get(11):
        raise Failure("record")
    return found, public


def read(v):
    found, public = parse(v["record"])
    bucket, key = v["bucket"].encode(), v["key"].encode()
    context = b"" if found[1] == b"\3" else v["context"].encode()
    version = struct.pack(">I", uvarint(found.get(3, b"\0")))
    kek = derive(bytes.fromhex(v["secret"]), b"kek", found[7][:32], found[1], bucket, key, found.get(2, b""), version,
                 hashlib.sha256(context).digest())
    try:
        object_key = AESGCM(kek).decrypt(bytes(12), found[7][32:], None)
    except InvalidTag:
        raise Failure("wrong-key")
    aad = lp(b"bucketseal/1/record") + lp(public) + lp(bucket) + lp(key)
    try:
        private = AESGCM(derive(object_key, b"record")).decrypt(found[16][:12], found[16][12:], aad)
    except InvalidTag:
        raise Failure("tampered")
    if 11 in found and found.get(10) != b"\1":
        etag = hashlib.sha256(lp(b"bucketseal/1/etag") + lp(found[7])).hexdigest()[:32] + "-1"
        if etag != v["etag"]:
            raise Failure("etag")
    data = base64.b64decode(v["data"])
    if 10 in found:
        return parts(object_key, base64.b64decode(v["parts"]), data)
    nonce = dict((tag, value) for _, tag, value in fields(private)).get(1, b"")
    return packages(derive(object_key, b"part", struct.pack(">I", 1)), nonce, uvarint(found[8]), data)


def table(raw):
    """The (number, size, nonce) of each part."""
    sums = {0: 0, 0x10: 4, 0x11: 4, 0x12: 8, 0x13: 20, 0x14: 32,
            0x0B: 64, 0x0C: 16, 0x0D: 8, 0x0E: 8, 0x0F: 16}
    if len(raw) < 2 or raw[0] != 1 or raw[1] not in sums:
        raise Failure("record")
    at, found = 2, []

    def number():
        nonlocal at
        start = at
        while at < len(raw) and raw[at] >= 0x80:
            at += 1
        at += 1
        if at > len(raw):
            raise Failure("record")
        return uvarint(raw[start:at])

    while at < len(raw):
        n, size = number(), number()
        nonce = raw[at:at + 12] if size else b""
        at += len(nonce) + sums[raw[1]]
        if at > len(raw) or found and n <= found[-1][0]:
            raise Failure("record")
        found.append((n, size, nonce))
    return found


def parts(object_key, raw, data):
    listed = table(raw)
    lengths = [size + 32 * -(-size // 65536) for _, size, _ in listed]
    if len(data) != sum(lengths):
        raise Failure("truncated")
    plain, at = b"", 0
    for (number, size, nonce), length in zip(listed, lengths):
        plain += packages(derive(object_key, b"part", struct.pack(">I", number)), nonce, size, data[at:at + length])
        at += length
    return plain


def packages(part_key, nonce, size, data):
    count = -(-size // 65536)
    if len(data) != size + 32 * count:
        raise Failure("truncated")
    plain, aead = b"", AESGCM(part_key)
    for i in range(count):
        length = min(65536, size - 65536 * i)
        package = data[65568 * i:65568 * i + length + 32]
        stream = bytes([nonce[0] | (0x80 if i == count - 1 else 0)]) + nonce[1:]
        if package[:16] != b"\x20\x00" + struct.pack("<H", length - 1) + stream:
            raise Failure("tampered")
        iv = stream[:8] + struct.pack("<I", struct.unpack("<I", stream[8:])[0] ^ i)
        try:
            plain += aead.decrypt(iv, package[16:], package[:4])
        except InvalidTag:
            raise Failure("tampered")
    return plain


def check(path):
    v = json.load(open(path))
    try:
        plain, outcome = read(v), ""
    except Failure as failure:
        plain, outcome = b"", str(failure)
    seed = v["seed"].encode()
    good = outcome == v.get("error", "")
    if not outcome:
        good = good and plain == bytes(seed[i % len(seed)] ^ (i // 256 & 255) for i in range(v["plain_size"]))
    print("ok  " if good else "FAIL", path, outcome)
    return good


if __name__ == "__main__":
    sys.exit(not all([check(path) for path in sys.argv[1:]]))
