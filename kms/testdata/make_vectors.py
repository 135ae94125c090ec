#!/usr/bin/env python3
"""Makes vectors.json from docs/keys.md alone, without the code that it tests.

Needs the package `cryptography`. All randomness is fixed, so that the result is
always the same; `kes` holds what KES v0.22.3 answered over its wire API.
"""

import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SECRET = bytes(range(32))
SECRET2 = bytes(range(100, 132))
HMAC_KEY = bytes(range(200, 232))
IV = bytes(range(16))
NONCE = bytes(range(50, 62))
DEK = bytes(range(64, 96))
CONTEXT = b'{"bucket":"bucket/key"}'
MAGIC = b"\x89BSKEY\x1a\n"


def rotate(x, n):
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def hchacha20(key, iv):
    """draft-irtf-cfrg-xchacha-03, section 2.2."""
    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", iv))

    def quarter(a, b, c, d):
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotate(s[d] ^ s[a], 16)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotate(s[b] ^ s[c], 12)
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[d] = rotate(s[d] ^ s[a], 8)
        s[c] = (s[c] + s[d]) & 0xFFFFFFFF
        s[b] = rotate(s[b] ^ s[c], 7)

    for _ in range(10):
        for columns in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*columns)
        for diagonals in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*diagonals)
    return struct.pack("<8I", *s[:4], *s[12:])


assert hchacha20(SECRET, bytes.fromhex("000000090000004a0000000031415927")) == bytes.fromhex(
    "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
), "the vector of the draft"


def box(algorithm, secret, plaintext, aad):
    if algorithm == "AES256":
        return AESGCM(hmac.new(secret, IV, hashlib.sha256).digest()).encrypt(NONCE, plaintext, aad)
    return ChaCha20Poly1305(hchacha20(secret, IV)).encrypt(NONCE, plaintext, aad)


def raw(algorithm, secret, plaintext, aad):
    return box(algorithm, secret, plaintext, aad) + IV + NONCE


def b64(b):
    return base64.b64encode(b).decode()


def old_json(aead, algorithm, key_id=None):
    fields = {"aead": aead, "iv": b64(IV), "nonce": b64(NONCE), "bytes": b64(box(algorithm, SECRET, DEK, CONTEXT))}
    if key_id:
        fields["id"] = key_id
    return json.dumps(fields, separators=(",", ":")).encode()


def old_msgpack(name, algorithm, key_id):
    data = box(algorithm, SECRET, DEK, CONTEXT)
    out = b"\x95" + bytes([0xA0 | len(name)]) + name
    out += b"\xd9" + bytes([len(key_id)]) + key_id
    for part in (IV, NONCE, data):
        out += b"\xc4" + bytes([len(part)]) + part
    return out


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def number(field, n):
    return varint(field << 3) + varint(n)


def secret_message(secret, kind):
    return message(1, secret) + number(2, kind)


def record(kind, hmac_key=HMAC_KEY, created=True, by=b"somebody", extra=b"", secret=SECRET):
    out = message(1, secret_message(secret, kind))
    if hmac_key is not None:
        out += message(2, secret_message(hmac_key, 1))
    if created:
        out += message(3, number(1, 1700000000) + number(2, 123456789))
    if by:
        out += message(4, by)
    return out + extra


def later(kind, version, secret=SECRET2):
    return message(100, message(1, secret_message(secret, kind)) + number(2, version) + message(3, number(1, 1700000001)))


def records():
    def good(name, text, algorithm, **more):
        return {"name": name, "record": text, "algorithm": algorithm, "version": 1, "createdAt": "2023-11-14T22:13:20.123456789Z",
                "createdBy": "somebody", "hmac": True, "rewritten": True} | more

    def bad(name, text):
        return {"name": name, "record": text, "error": True}

    none = "0001-01-01T00:00:00Z"
    plain = record(1)
    seq = b64(SECRET)
    return [
        good("AES256", b64(plain), "AES256"),
        good("ChaCha20", b64(record(2)), "ChaCha20"),
        good("not known when and by whom", b64(record(1, created=False, by=b"")), "AES256", createdAt=none, createdBy=""),
        good("before HMAC keys", b64(record(1, hmac_key=None)), "AES256", hmac=False),
        good("rotated once, to ChaCha20", b64(record(1, extra=later(2, 2))), "ChaCha20", version=2),
        good("rotated, version 2 removed", b64(record(1, extra=later(1, 3))), "AES256", version=3),
        good("a field that nobody knows yet", b64(record(1, extra=message(77, b"?"))), "AES256", rewritten=False),
        good("white space around", "\n " + b64(plain) + "\n", "AES256", rewritten=False),
        good("JSON, secret alone", '{"bytes":"%s"}' % seq, "AES256", createdAt=none, createdBy="", hmac=False, rewritten=False),
        good("JSON, ChaCha20", '{"bytes":"%s","algorithm":"XCHACHA20-POLY1305","created_at":"2023-11-14T22:13:20.123456789Z","created_by":"somebody"}' % seq,
             "ChaCha20", hmac=False, rewritten=False),
        good("KES v0.22.3, imported",
             '{"version":"v1","bytes":"%s","created_at":"2026-11-23T21:46:21.430123983Z",'
             '"created_by":"2441c0d39fe0b60081cfa5f4a8ef1fcd6a00f1e7d7036d16cc6f2ce1df70dbbc"}' % seq, "AES256",
             createdAt="2026-11-23T21:46:21.430123983Z",
             createdBy="2441c0d39fe0b60081cfa5f4a8ef1fcd6a00f1e7d7036d16cc6f2ce1df70dbbc", hmac=False, rewritten=False),
        good("KES v0.22.3, created",
             '{"version":"v1","bytes":"NsG28wDWCgJTqj2AC5j0dsyoUvPhVpk5o+xSyBumMdQ=","algorithm":"AES256-GCM_SHA256",'
             '"created_at":"2026-11-23T21:46:21.201354763Z",'
             '"created_by":"2441c0d39fe0b60081cfa5f4a8ef1fcd6a00f1e7d7036d16cc6f2ce1df70dbbc"}', "AES256",
             createdAt="2026-11-23T21:46:21.201354763Z",
             createdBy="2441c0d39fe0b60081cfa5f4a8ef1fcd6a00f1e7d7036d16cc6f2ce1df70dbbc", hmac=False, rewritten=False),
        bad("empty", ""),
        bad("no base64", "hunter2"),
        bad("base64 of nothing", b64(b"\x00")),
        bad("cut", b64(plain[:-1])),
        bad("secret too short", b64(record(1, secret=SECRET[:31]))),
        bad("secret too long", b64(record(1, secret=SECRET + b"x"))),
        bad("no secret", b64(message(4, b"somebody"))),
        bad("two secrets", b64(plain + message(1, secret_message(SECRET2, 1)))),
        bad("unknown algorithm", b64(record(3))),
        bad("no algorithm", b64(message(1, message(1, SECRET)))),
        bad("HMAC key too short", b64(record(1, hmac_key=HMAC_KEY[:16]))),
        bad("HMAC key empty", b64(record(1, hmac_key=b""))),
        bad("HMAC message empty", b64(message(1, secret_message(SECRET, 1)) + message(2, b""))),
        bad("unknown hash", b64(message(1, secret_message(SECRET, 1)) + message(2, secret_message(HMAC_KEY, 2)))),
        bad("secret as a number", b64(number(1, 7))),
        bad("time as a number", b64(record(1, created=False, extra=number(3, 7)))),
        bad("time out of range", b64(record(1, created=False, extra=message(3, number(1, 1 << 60))))),
        bad("creator not UTF-8", b64(record(1, by=b"\xff"))),
        bad("version 1 twice", b64(record(1, extra=later(1, 1)))),
        bad("versions out of order", b64(record(1, extra=later(1, 3) + later(1, 2)))),
        bad("version without number", b64(record(1, extra=message(100, message(1, secret_message(SECRET2, 1)))))),
        bad("JSON, secret too short", '{"bytes":"AAEC"}'),
        bad("JSON, unknown algorithm", '{"bytes":"%s","algorithm":"DES"}' % seq),
        bad("JSON, no secret", "{}"),
        bad("JSON, cut", '{"bytes":"%s"' % seq),
    ]


def ciphertexts():
    aes, chacha = b64(record(1)), b64(record(2))
    rotated = b64(record(1, extra=later(2, 2)))
    header2, header1 = MAGIC + struct.pack(">I", 2), MAGIC + struct.pack(">I", 1)
    kes = '{"bytes":"%s"}' % b64(SECRET)

    def one(name, key, ciphertext, plaintext=DEK, context=CONTEXT):
        return {"name": name, "key": key, "context": b64(context), "ciphertext": b64(ciphertext),
                "plaintext": None if plaintext is None else b64(plaintext)}

    def bad(name, key, ciphertext, context=CONTEXT):
        return one(name, key, ciphertext, None, context)

    good = raw("AES256", SECRET, DEK, CONTEXT)
    pack = old_msgpack(b"AES256-GCM_SHA256", "AES256", b"k" * 32)
    versioned = header2 + raw("ChaCha20", SECRET2, DEK, header2 + CONTEXT)
    flipped = [bad("flipped bit in byte %d" % i, aes, good[:i] + bytes([good[i] ^ 1]) + good[i + 1:]) for i in (0, 31, 32, 47, 48, 63, 64, 75)]
    kes_dek = base64.b64decode("vnqjRGiH9L5Ak+tvYUnhBQaFYscnB7y69EUx3jCD7cs=")
    kes_box = base64.b64decode(
        "lbFBRVMyNTYtR0NNX1NIQTI1NtkgNjMwZGNkMjk2NmM0MzM2NjkxMTI1NDQ4YmJiMjViNGbEEKqiysMaEjXfaapJKB/uOLbEDFR7DguRPBmjMYcLE8QwXKbU"
        "+/F+BkJUGHD6Hs8mGje/I7578cr4HsZOgT70yC4SYw32mrebf/klaGhdl/vM")
    kes_hello = base64.b64decode(
        "lbFBRVMyNTYtR0NNX1NIQTI1NtkgNjMwZGNkMjk2NmM0MzM2NjkxMTI1NDQ4YmJiMjViNGbEEHJqmdTeDocyPxZNY9arMOLEDHjhJS/Q4kQZDusY7MQVo2iM"
        "QSYjwz0Ct6JPeR3lU0hlfzGc")
    return flipped + [
        one("AES256", aes, good),
        one("ChaCha20", chacha, raw("ChaCha20", SECRET, DEK, CONTEXT)),
        one("no context", aes, raw("AES256", SECRET, DEK, b""), DEK, b""),
        one("nothing sealed", chacha, raw("ChaCha20", SECRET, b"", CONTEXT), b""),
        one("JSON, AES256", aes, old_json("AES-256-GCM-HMAC-SHA-256", "AES256", "0123456789abcdef")),
        one("JSON, no key id", aes, old_json("AES-256-GCM-HMAC-SHA-256", "AES256")),
        one("JSON, ChaCha20", chacha, old_json("ChaCha20Poly1305", "ChaCha20")),
        one("JSON, ChaCha20 under a key that is AES256 today", aes, old_json("ChaCha20Poly1305", "ChaCha20")),
        one("msgpack, AES256", aes, pack),
        one("msgpack, ChaCha20", chacha, old_msgpack(b"XCHACHA20-POLY1305", "ChaCha20", b"")),
        one("KES v0.22.3, generate", kes, kes_box, kes_dek, b'{"b":"b/o"}'),
        one("KES v0.22.3, encrypt", kes, kes_hello, b"hello", b""),
        one("version 2", rotated, versioned),
        one("version 1 of a rotated key", rotated, good),
        bad("version 2 under a key that was not rotated", aes, versioned),
        bad("version 3 of two", rotated, MAGIC + struct.pack(">I", 3) + versioned[12:]),
        bad("version 2 without its header", rotated, versioned[12:]),
        bad("a header of version 1 around a context that holds it", aes, header1 + raw("AES256", SECRET, DEK, header1 + CONTEXT)),
        bad("a header of version 2 around version 1", rotated, header2 + raw("AES256", SECRET, DEK, header2 + CONTEXT)),
        bad("header alone", rotated, header2),
        bad("another context", aes, good, b'{"bucket":"bucket/other"}'),
        bad("another key", b64(record(1, secret=SECRET2)), good),
        bad("another algorithm", chacha, good),
        bad("empty", aes, b""),
        bad("shorter than tag, IV and nonce", aes, good[-43:]),
        bad("cut at the end", aes, good[:-1]),
        bad("cut at the start", aes, good[1:]),
        bad("a byte more", aes, good + b"\x00"),
        bad("JSON, name twice", aes, old_json("AES-256-GCM-HMAC-SHA-256", "AES256")[:-1] + b',"iv":"AAAAAAAAAAAAAAAAAAAAAA=="}'),
        bad("JSON, unknown name", aes, old_json("AES-256-GCM-HMAC-SHA-256", "AES256")[:-1] + b',"x":"y"}'),
        bad("JSON, unknown algorithm", aes, old_json("AES-128", "AES256")),
        bad("JSON, data behind", aes, old_json("AES-256-GCM-HMAC-SHA-256", "AES256") + b"{}"),
        bad("msgpack, cut", aes, pack[:-1]),
        bad("msgpack, data behind", aes, pack + b"\x00"),
        bad("msgpack, unknown algorithm", aes, old_msgpack(b"AES128-GCM_SHA256", "AES256", b"k")),
        bad("msgpack, length of 4 GiB", aes, b"\x95\xdb\xff\xff\xff\xff" + pack[1:]),
    ]


def contexts():
    def canonical(members):
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        text = text.replace("\\b", "\\u0008").replace("\\f", "\\u000c")
        for c in "<>&\u2028\u2029":
            text = text.replace(c, "\\u%04x" % ord(c))
        return text

    members = [
        {}, {"bucket": "bucket/key"}, {"b": "2", "a": "1", "B": "3", "": "empty name"},
        {"a": "<b>", "kbk": "kbk/ctx.txt", "project": "alpha"}, {"&": "a\u2028b\u2029c", "quote\"": "back\\slash/"},
        {"controls": "\x00\x01\b\t\n\x0b\f\r\x1f\x7f"}, {"ünïcödé": "日本語 \U0001F511", "Z": "é"}, {"\U0001F511": "x", "\uffff": "y"},
    ]
    return [{"members": m, "canonical": canonical(dict(sorted(m.items(), key=lambda kv: kv[0].encode())))} for m in members]


def logs():
    """Stores of a key "key", as section 8 describes them, and what they open."""
    log = "0011223344556677"

    def fingerprint(secret):
        return hmac.new(secret, b"bucketseal KMS key fingerprint v1", hashlib.sha256).digest()[:16].hex()

    def event(name, version, **more):
        return json.dumps({"event": name, "version": version, "at": "2023-11-14T22:13:21Z"} | more, separators=(",", ":"))

    first = b64(record(1))
    root = json.dumps({"log": log, "first": fingerprint(SECRET)}, separators=(",", ":"))
    rotated = event("rotate", 2, by="somebody", fingerprint=fingerprint(SECRET2))
    second = b64(later(2, 2))
    destroyed = event("destroyed", 1, kept={"created_at": "2023-11-14T22:13:20.123456789Z", "created_by": "somebody", "hmac": b64(HMAC_KEY)})
    prefix = "key@" + log
    base = {"key": first, "key@log": root, prefix + ".1": rotated, prefix + ".v2": second}
    header2 = MAGIC + struct.pack(">I", 2)
    opened = [b64(raw("AES256", SECRET, DEK, CONTEXT)), b64(header2 + raw("ChaCha20", SECRET2, DEK, header2 + CONTEXT))]

    def one(name, entries, *states):
        return {"name": name, "entries": entries, "states": states, "context": b64(CONTEXT), "ciphertexts": opened, "plaintext": b64(DEK)}

    without = {k: v for k, v in base.items() if k != "key"}
    return [
        one("rotated", base, "decrypt-only", "active"),
        one("a root without events", {"key": first, "key@log": root}, "active"),
        one("a secret without its event", {"key": first, "key@log": root, prefix + ".v2": second}, "active"),
        one("retired", base | {prefix + ".2": event("retire", 1)}, "retired", "active"),
        one("reinstated", base | {prefix + ".2": event("retire", 1), prefix + ".3": event("reinstate", 1)}, "decrypt-only", "active"),
        one("doomed", base | {prefix + ".2": event("doom", 1, due="2023-11-21T22:13:21Z")}, "to be destroyed", "active"),
        one("destroyed", without | {prefix + ".2": destroyed}, "destroyed", "active"),
        one("destroyed, its record not yet removed", base | {prefix + ".2": destroyed}, "destroyed", "active"),
        one("deleted", base | {prefix + ".2": event("deleted", 0)}),
        one("deleted, some entries removed", {k: v for k, v in without.items() if not k.endswith("v2")} | {prefix + ".2": event("deleted", 0)}),
        one("the log of another key", base | {"key@log": root.replace(fingerprint(SECRET), fingerprint(SECRET2))}),
        one("no secret", {k: v for k, v in base.items() if not k.endswith("v2")}),
        one("a version left out", base | {prefix + ".1": rotated.replace(":2,", ":3,")}),
    ]


vectors = {
    "records": records(), "ciphertexts": ciphertexts(), "contexts": contexts(),
    "logs": logs(),
    "hmacs": [{"key": b64(record(1)), "message": b64(m), "hmac": b64(hmac.new(HMAC_KEY, m, hashlib.sha256).digest())}
              for m in (b"", b"root access key", bytes(1000))],
}
with open("vectors.json", "w", encoding="ascii") as f:
    json.dump(vectors, f, indent=1)
    f.write("\n")
