"""Which process of a distributed training this is, as launchers say it."""

from __future__ import annotations

import pytest

from segline import environment
from segline.errors import ParametersError

VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


@pytest.mark.parametrize(
    ("set_", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "3", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),  # torchrun, the first process of its second node
        ({"RANK": "0", "SLURM_PROCID": "1"}, True),  # torchrun has the word, within SLURM too
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),  # Lightning's launcher on a second node, before it has started the others
        ({"GROUP_RANK": "1"}, False),
        ({"NODE_RANK": "0"}, True),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "5"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # Lightning's launcher within one task of SLURM
        ({"SLURM_PROCID": "2", "LOCAL_RANK": "0"}, False),
        ({"RANK": "", "LOCAL_RANK": ""}, True),
    ],
)
def test_one_process_is_the_first(monkeypatch: pytest.MonkeyPatch, set_: dict[str, str], first: bool) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    assert (environment.process_rank() == 0) == first


def test_processes_of_two_nodes_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    ranks = set()
    for node in range(3):
        for local in range(8):
            monkeypatch.setenv("NODE_RANK", str(node))
            monkeypatch.setenv("LOCAL_RANK", str(local))
            ranks.add(environment.process_rank())
    assert len(ranks) == 24


@pytest.mark.parametrize("name", VARIABLES)
def test_what_is_no_number_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "first")
    with pytest.raises(ParametersError, match=f"variable {name} is 'first'"):
        environment.process_rank()
