"""A small part of `benchmarks/hostile/params.py`: whatever params.yaml says, it is read or refused in sentences."""

from __future__ import annotations

import pytest
from hostile import campaign_of

from segline.errors import ParametersError

hostile = campaign_of("params")

SLOW = ("deep brackets", "many keys")


CASES = [case for case in (*hostile.fixed(), *hostile.cases(100, 20_000)) if case[0] not in SLOW]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name[:40] for name, _ in CASES])  # of a function the name holds its address
def test_it_is_read_or_refused_in_sentences(name: str, case: object) -> None:  # noqa: ARG001
    assert callable(case)
    told: tuple[str, ...] = ()
    try:
        case()
    except ParametersError as error:
        told = error.problems
    assert all(problem.endswith((".", "?")) for problem in told), told
