"""The container files keep their promises. No engine builds them here, so what can be read off them is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import app

REPOSITORY = Path(__file__).resolve().parent.parent
DOCKERFILE = (REPOSITORY / "docker" / "Dockerfile").read_text()
COMPOSE_PATH = REPOSITORY / "docker" / "compose.yaml"


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument, continuation lines joined, comments dropped."""
    kept = "\n".join(line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", kept)
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction, argument in instructions():
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, argument))
    return found


def service() -> dict[str, Any]:
    compose = yaml.safe_load(COMPOSE_PATH.read_text())
    assert isinstance(compose, dict)
    return dict(compose["services"]["josephson"])


def test_images_are_built_in_stages_from_a_named_version():
    assert len(stages()) == 2
    for stage in stages():
        image = stage[0][1].split()[0]
        assert ":" in image
        assert not image.endswith(":latest")


def test_the_runtime_is_not_root_and_has_no_compiler_or_cache():
    runtime = stages()[-1]
    users = [argument for instruction, argument in runtime if instruction == "USER"]
    assert users
    assert users[-1].split(":")[0] not in {"0", "root"}
    order = [instruction for instruction, _ in runtime]
    assert order.index("USER") < order.index("ENTRYPOINT")
    installs = " ".join(argument for instruction, argument in runtime if instruction == "RUN")
    assert "libngspice0" in installs
    assert "--no-install-recommends" in installs
    assert "rm -rf /var/lib/apt/lists/*" in installs
    assert "build-essential" not in installs


def test_the_health_check_asks_livez_and_needs_no_other_program():
    checks = [argument for instruction, argument in stages()[-1] if instruction == "HEALTHCHECK"]
    assert len(checks) == 1
    assert "/livez" in checks[0]
    assert "curl" not in checks[0]


def test_nothing_is_added_from_the_network_and_commands_are_lists():
    for instruction, argument in instructions():
        assert instruction != "ADD"
        if instruction in {"CMD", "ENTRYPOINT"}:
            assert argument.startswith("[")


def test_every_copied_file_is_let_through_by_the_ignore_file():
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    for instruction, argument in stages()[0]:
        if instruction == "COPY":
            for source in argument.split()[:-1]:
                assert source in let_through
                assert (REPOSITORY / source).exists()


def test_the_image_says_under_which_licences_it_is_passed_on():
    assert 'licenses="Apache-2.0 AND GPL-3.0-or-later"' in DOCKERFILE


def test_compose_publishes_on_loopback_with_a_read_only_root_and_no_privileges():
    told = service()
    assert all(port.startswith("127.0.0.1:") for port in told["ports"])
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in told["security_opt"]
    assert any(mount.endswith(":/data") for mount in told["volumes"])
    assert any(mount.startswith("/tmp") for mount in told["tmpfs"])
    assert told["image"].endswith(f":{app.__version__}")


def test_the_docker_client_accepts_the_compose_file():
    client = shutil.which("docker")
    if (
        client is None
        or subprocess.run([client, "compose", "version"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("no docker client with compose on this machine")
    done = subprocess.run(
        [client, "compose", "-f", str(COMPOSE_PATH), "config", "--quiet"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
