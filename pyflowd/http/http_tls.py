"""TLS as a task wants it: one context for each set of options, made anew when its files change."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from pyflowd.http.http_errors import CallError
from pyflowd.model.kinds import Tls

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(tls: Tls) -> ssl.SSLContext:
    """Raises CallError. Contexts are shared by threads; nothing in them changes."""
    stamps = tuple(_stamp(path) for path in (tls.ca_file, tls.cert_file, tls.key_file) if path)
    return _context(tls.verify, tls.ca_file, tls.cert_file, tls.key_file, tls.min_version, stamps)


def _stamp(path: str) -> tuple[int, int, int]:
    """Changes when the file does: certificates are renewed under a daemon that lives for months."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise CallError(f"tls: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=32)
def _context(
    verify: bool, ca_file: str, cert_file: str, key_file: str, min_version: str, stamps: tuple[object, ...]
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = _VERSIONS[min_version]
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif ca_file:
        try:
            made.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError):
            raise CallError(f"tls: {ca_file} holds no certificates that can be read (PEM)") from None
    else:
        _load_authorities(made)
    if cert_file:
        try:
            made.load_cert_chain(cert_file, key_file or None, password=_no_password)
        except (OSError, ssl.SSLError, ValueError):
            what = f"{cert_file} and {key_file}" if key_file else cert_file
            raise CallError(f"tls: {what}: no certificate with its key, or one with a pass phrase") from None
    return made


def _no_password() -> str:
    """Without it OpenSSL asks for one on the terminal."""
    return ""


def _load_authorities(made: ssl.SSLContext) -> None:
    """Those of the host, which its administrators keep; where there are none, those that come with `requests`."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and os.listdir(paths.capath)):
        made.load_default_certs()
    else:
        made.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
