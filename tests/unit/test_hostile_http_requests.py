"""A part of `benchmarks/hostile/http_requests.py`: damaged requests end in an answer or in a refusal that has a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import campaign_of

hostile = campaign_of("http_requests")

DAMAGED = 120


@pytest.mark.filterwarnings("ignore")
def test_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.pyfunc import scoring_server

    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)  # put back afterwards
    invoke = hostile.in_process(hostile.save_model(tmp_path))
    large = ("a million empty lists", "10^6 texts", "20000 x 20000")  # seconds each
    cases = [case for case in hostile.cases(invoke, DAMAGED) if case[0] not in large]
    found = hostile.campaign(cases, seconds=60, mib=1024)
    assert found.outcomes.total() > DAMAGED
    assert found.outcomes["ok"] > 5
    assert found.findings == []
