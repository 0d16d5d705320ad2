"""Allowed signers are people that can be counted: one key is one person."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.migrations.approval.openssh import signatures_in
from pgops.migrations.approval.signers import parse_signers, read_signers
from tests.support.signing import People

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHMVb9vP5gSx7ZxW1QyPqvYbN0V8m8d9vQmVvO0m3a7T"


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_signers(text, "allowed_signers")
    assert caught.value.problems
    return "; ".join(caught.value.problems)


def test_names_and_fingerprints_are_ssh_keygens(tmp_path: Path) -> None:
    people = People(tmp_path)
    text = "\n".join(
        [
            "# the release managers",
            "",
            people.line("alice@example.com", options='namespaces="git,pgops",valid-before="20300101"'),
            "  " + people.line("bob"),
            people.line("bob", key="bob2"),
        ]
    )
    found = parse_signers(text, "allowed_signers")
    assert found.names == ("alice@example.com", "bob")
    for signer, key in zip(found.signers, ("alice@example.com", "bob", "bob2"), strict=True):
        told = subprocess.run(
            ["ssh-keygen", "-lf", people.key(key)], capture_output=True, text=True, check=True
        ).stdout
        assert signer.fingerprint == told.split()[1]
        assert found.by_fingerprint(signer.fingerprint) == signer


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"*@example.com {KEY}", "not the name of one person"),
        (f"alice,bob {KEY}", "not the name of one person"),
        (f"!alice {KEY}", "not the name of one person"),
        (f'"alice" {KEY}', "not the name of one person"),
        (f"alice cert-authority {KEY}", "an authority makes any number of people"),
        (f'alice namespaces="git",CERT-AUTHORITY {KEY}', "an authority makes any number of people"),
        (f"alice {KEY.replace('ed25519', 'ed25519-cert-v01@openssh.com', 1)}", "a certificate"),
        ("alice", "there is no key"),
        ("alice ssh-ed25519", "there is no key"),
        ("alice ssh-ed25519 !!!!", "not base64"),
        (f"alice {KEY}\nbob {KEY}", "the key of bob is alice's too"),
        ("# nobody", "names nobody"),
    ],
)
def test_what_can_not_be_counted(line: str, said: str) -> None:
    assert said in problem(line)


def test_every_mistake_is_told_with_its_line() -> None:
    assert problem(f"alice {KEY}\n\n*@x {KEY}\nbob cert-authority {KEY}") == (
        "allowed_signers:3: *@x is not the name of one person: no patterns, lists or quotes; "
        "allowed_signers:4: cert-authority: an authority makes any number of people; name the keys"
    )


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_signers(tmp_path / "allowed_signers")


def test_signatures_one_after_another(tmp_path: Path) -> None:
    people = People(tmp_path)
    one, two = people.sign(b"plan", "alice"), people.sign(b"plan", "bob")
    assert signatures_in(one + two) == [one, two]
    assert signatures_in(f"from: alice\n\n{one}\n{two.strip()}".replace("\n", "\r\n")) == [one, two.strip()]
