"""Certificates for servers of the tests."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def make(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A certificate that signs itself, for `name`, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = f"openssl req -x509 -newkey rsa:2048 -noenc -days 2 -subj /CN=test -addext subjectAltName={name}"
    subprocess.run([*request.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def context(cert: Path, key: Path) -> ssl.SSLContext:
    """Of a server that shows it."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(cert, key)
    return found
