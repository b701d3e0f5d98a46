"""nginx in front of a server: as docs/deploy has it, or with something about it changed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server import ROOT
from tests.services import Service, program

Change = Callable[[str], str]


class Proxy(Service):
    """Leads to `port`; `change` gets the documented configuration and returns the one to use."""

    def __init__(self, port: int, change: Change = str, *, https: bool = False) -> None:
        super().__init__("nginx")
        self.user = None
        self.url = f"http{'s' if https else ''}://127.0.0.1:{self.port}"
        self._upstream = port
        self._change = change
        self.certificate = self._make_certificate() if https else None

    def start(self) -> "Proxy":
        (self.directory / "nginx.conf").write_text(self._configuration())
        arguments = [program("nginx"), "-e", "stderr", "-c", str(self.directory / "nginx.conf")]
        self.run(arguments, self._answers)
        return self

    def _configuration(self) -> str:
        site = (ROOT / "docs/deploy/nginx.conf").read_text()
        site = re.sub(r"server 127\.0\.0\.1:8002.*\n", "", site)
        site = site.replace("127.0.0.1:8001", f"127.0.0.1:{self._upstream}")
        site = site.replace("server_name chat.example.org;", "server_name _;")
        listen = f"listen 127.0.0.1:{self.port}"
        if self.certificate:
            key = self.certificate.with_suffix(".key")
            listen += f" ssl; ssl_certificate {self.certificate}; ssl_certificate_key {key}"
        site = self._change(site.replace("listen 80;", f"{listen};"))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.directory}/{kind};\n" for kind in kinds)
        return (
            f"daemon off;\nmaster_process off;\npid {self.directory}/pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{places}{site}}}\n"
        )

    def _make_certificate(self) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Potok's tests")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
            )
            .sign(key, hashes.SHA256())
        )
        path = self.directory / "certificate.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        path.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def _answers(self) -> bool:
        assert self.is_running, (self.directory / "output.log").read_text()
        try:
            httpx.get(self.url, trust_env=False, verify=False)
        except httpx.TransportError:
            return False
        return True
