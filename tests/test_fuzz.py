"""A short run of each fuzzer: the initial inputs, and some mutations of them; ``make fuzz`` runs longer."""

from random import Random

import pytest
from fuzz.mutate import mutated
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_ends_in_a_result_or_a_minidl_error(name, names, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    target, random = TARGETS[name], Random(1)
    seeds = target.seeds()
    inputs = [*seeds[:12], *(mutated(seeds, target.words, random) for _ in range(12))]
    accepted = [target.try_one(data, tmp_path) for data in inputs]
    assert any(accepted), "no input to begin with is one that is read"
