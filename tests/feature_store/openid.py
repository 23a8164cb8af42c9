"""An OpenID Connect provider on this machine, and tokens good and forged."""

import base64
import hashlib
import hmac
import json
import threading
import time
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "feast"


def new_key():
    # 2048 bits: the least that PyJWT takes without a warning.
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """Serve a discovery document and a set of one key; sign tokens with it."""

    def __init__(self):
        self.key, self.kid = new_key(), "key-1"
        handler = type("Handler", (_Handler,), {"pages": self.page})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def page(self, path):
        if path == "/keys":
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), True)
            return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]}
        endpoints = {name: self.issuer + "/" + name for name in ("token", "authorize")}
        return {
            "issuer": self.issuer,
            "jwks_uri": self.issuer + "/keys",
            "token_endpoint": endpoints["token"],
            "authorization_endpoint": endpoints["authorize"],
        }

    def claims(self, *roles, **changed):
        """Return the claims of a good token; a claim of None is left out."""
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "somebody",
            "exp": int(time.time()) + 600,
            "roles": list(roles),
        }
        return {k: v for k, v in {**claims, **changed}.items() if v is not None}

    def token(self, *roles, key=None, kid=None, **changed):
        return jwt.encode(
            self.claims(*roles, **changed),
            key or self.key,
            "RS256",
            {"kid": kid or self.kid},
        )

    def unsigned(self, *roles, **changed):
        header = {"alg": "none", "typ": "JWT", "kid": self.kid}
        return f"{_part(header)}.{_part(self.claims(*roles, **changed))}."

    def signed_with_public_key(self, *roles):
        """Sign by HS256, with what everybody can read as the secret."""
        header = {"alg": "HS256", "typ": "JWT", "kid": self.kid}
        text = f"{_part(header)}.{_part(self.claims(*roles))}"
        mac = hmac.new(self._public_pem, text.encode(), hashlib.sha256).digest()
        return f"{text}.{_encoded(mac)}"

    def edited(self, *roles):
        """Put other roles into a signed token without roles."""
        header, _, signature = self.token().split(".")
        return f"{header}.{_part(self.claims(*roles))}.{signature}"

    @cached_property
    def _public_pem(self):
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.pages(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def _part(value):
    return _encoded(json.dumps(value).encode())


def _encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
