"""A protected environment proves who answers, also where its host is known only once a URL is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.environments import load
from pgops.errors import ConfigurationError
from pgops.targets import target_for


@pytest.mark.parametrize(
    ("url", "lines", "refused"),
    [
        ("postgresql://u:p@db.example.com/d", "", True),
        ("postgresql://u:p@db.example.com/d?sslmode=require", "", True),
        ("postgresql://u:p@db.example.com/d?sslmode=verify-full", "", False),
        ("postgresql://u:p@db.example.com/d", "sslmode: verify-full", False),
        ("postgresql://u:p@db.example.com/d", "protected: false", False),
        ("postgresql://u:p@127.0.0.1/d", "", False),
        ("postgresql://u:p@/d?host=/run/postgresql", "", False),
    ],
)
def test_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, lines: str, refused: bool) -> None:
    monkeypatch.setenv("APP_URL", url)
    file = tmp_path / "environments.yaml"
    file.write_text(
        f"version: 1\nenvironments:\n  a:\n    url: {{env: APP_URL}}\n    {lines}\n", encoding="utf-8"
    )
    environment = load(file, environ={}).environment("a")
    if not refused:
        assert target_for(environment).dbname == "d"
        return
    with pytest.raises(ConfigurationError, match=r"a is protected, and sslmode '\w+' does not prove"):
        target_for(environment)


def test_a_service(tmp_path: Path) -> None:
    services = tmp_path / "services.conf"
    services.write_text("[s]\nhost=db.example.com\ndbname=d\nuser=u\n", encoding="utf-8")
    file = tmp_path / "environments.yaml"
    file.write_text(
        "version: 1\nenvironments:\n  a: {service: s, servicefile: services.conf}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigurationError, match="sslmode 'prefer' does not prove"):
        target_for(load(file, environ={}).environment("a"))
