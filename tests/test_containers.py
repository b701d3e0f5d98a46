"""The containers of docs/deploy: what is copied is enough to run, and what is set is read."""

import re
import shutil
import subprocess

import pytest

from tests.server import ROOT, free_port
from tests.services import program

DEPLOY = ROOT / "docs/deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = (DEPLOY / "compose.yaml").read_text()
# Of each Debian release, the PostgreSQL that it has.
POSTGRESQL_OF = {"bookworm": 15, "trixie": 17}


def copied() -> list[str]:
    """What the Dockerfile copies, as paths in the project."""
    lines = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M)
    return [name for line in lines for name in line.split()]


@pytest.mark.one_form
def test_what_the_image_copies_is_enough_to_chat(start_server, tmp_path):
    image = tmp_path / "image"
    image.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.mo")
            shutil.copytree(ROOT / name, image / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, image)
    owner = start_server(root=image).visitor().set_up()
    conversation = owner.send("Say hello", gateway="demo", model="demo-fast")
    assert owner.wait_for_reply(conversation, "complete")["text"]


def test_what_the_image_copies_is_all_that_a_build_is_sent():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert "*" in lines


def test_the_images_pg_dump_takes_the_servers_version():
    (release,) = re.findall(r"^FROM python:\S+-slim-(\w+)$", DOCKERFILE, re.M)
    (client,) = re.findall(r"postgresql-client-(\d+)", DOCKERFILE)
    (server,) = re.findall(r"image: postgres:(\d+)", COMPOSE)
    assert POSTGRESQL_OF[release] == int(client) >= int(server)


def test_what_containers_are_given_is_what_the_program_reads():
    (shared,) = re.findall(r"^  environment:\n((?:    .+\n)+)", COMPOSE, re.M)
    (example,) = re.findall(
        r"^```\n(SECRET_KEY=.+?)```", (DEPLOY / "README.md").read_text(), re.M | re.S
    )
    image = re.findall(r"^ENV (.+)$", DOCKERFILE, re.M)
    given = {
        *re.findall(r"^    ([A-Z_]+):", shared, re.M),
        *re.findall(r"^([A-Z_]+)=", example, re.M),
        *re.findall(r"([A-Z_]+)=", " ".join(image)),
    }
    known = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))
    assert {"REDIS_URL", "TRUSTED_PROXIES", "POTOK_DATA_DIR", "AITUNNEL_API_KEY"} <= given
    assert given - known == {"PYTHONUNBUFFERED"}


@pytest.mark.parametrize(
    ("url", "scheme"),
    [("http://chat.example.org", "$scheme"), ("https://chat.example.org", "https")],
)
def test_nginx_takes_what_the_proxy_makes_of_its_configuration(tmp_path, url, scheme):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "resolv.conf").write_text("search local\nnameserver 127.0.0.11\nnameserver ::1\n")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nevents {{\n    worker_connections  1024;\n}}\n"
        f"http {{\n    access_log off;\n    include {tmp_path}/conf.d/*.conf;\n}}\n"
    )
    script = (DEPLOY / "proxy.sh").read_text()
    for inside, here in {
        "/etc/potok/nginx.conf": f"{DEPLOY}/nginx.conf",
        "/etc/nginx": f"{tmp_path}",
        "/etc/resolv.conf": f"{tmp_path}/resolv.conf",
        "exec nginx -g 'daemon off;'": (
            f"sed -i 's/listen 80;/listen 127.0.0.1:{free_port()};/' $conf_d/default.conf\n"
            f"exec {program('nginx')} -e stderr -t -c {tmp_path}/nginx.conf"
        ),
    }.items():
        assert inside in script
        script = script.replace(inside, here)
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": "/usr/bin:/bin", "POTOK_URL": url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    site = (tmp_path / "conf.d/default.conf").read_text()
    assert f"proxy_set_header X-Forwarded-Proto {scheme};" in site
    assert "resolver 127.0.0.11 valid=2s" in site
    assert "proxy_pass http://$web;" in site
    assert "127.0.0.1:800" not in site
    assert (tmp_path / "conf.d/forwarded.conf").exists() == (scheme == "https")
    assert "worker_connections  1024" not in (tmp_path / "nginx.conf").read_text()
