#!/usr/bin/env python3
"""Makes sealed.json from docs/keys.md, section 5, without the code that it tests."""

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"bucketseal key 1\n"
MASTER = bytes(range(32))
SALT = bytes(range(32, 64))


def file_name(name):
    return "".join("=" + c.lower() if c.isupper() else c for c in name) + ".key"


def content(name, value):
    key = hmac.new(MASTER, b"bucketseal/1/keystore-file" + SALT + name.encode(), hashlib.sha256).digest()
    return MAGIC + SALT + AESGCM(key).encrypt(bytes(12), value, MAGIC + name.encode())


files = [{"name": n, "file": file_name(n), "value": base64.b64encode(v).decode(), "content": base64.b64encode(content(n, v)).decode()}
         for n, v in (("key", b"value"), ("My-Key_2", b""), ("A" * 80, bytes(1000)))]
with open("sealed.json", "w", encoding="ascii") as f:
    json.dump({"master": base64.b64encode(MASTER).decode(), "files": files}, f, indent=1)
    f.write("\n")
print(content("key", b"value").hex())
