"""A sample of the campaign of broken and hostile inputs (Testing/fuzzing)."""

from __future__ import annotations

import random
import sys

import pytest

pytest.importorskip("resource", reason="the campaign limits its children with resource, which Windows lacks")
pytest.importorskip("nibabel", reason="nibabel is the campaign's second opinion: pip install nibabel")
if sys.platform != "linux":
    pytest.skip("the campaign forks its children, which is safe on Linux alone", allow_module_level=True)

from fuzzing import campaign, mutations  # noqa: E402


@pytest.mark.parametrize(("kind", "count"), [("files", 16), ("recipes", 4), ("folders", 4), ("scene", 4)])
def test_a_sample_has_no_defect(kind, count):
    campaign._preload()
    found = {seed: campaign.run_one(kind, seed) for seed in (f"sample-{n}" for n in range(count))}
    assert not {seed: outcome for seed, outcome in found.items() if outcome in campaign.DEFECTS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(campaign.KINDS))
def test_a_larger_sample_has_no_defect(kind):
    campaign._preload()
    found = {seed: campaign.run_one(kind, seed) for seed in (f"more-{n}" for n in range(60))}
    assert not {seed: outcome for seed, outcome in found.items() if outcome in campaign.DEFECTS}


@pytest.mark.parametrize(
    ("does", "outcome"),
    [
        ("raise ValueError('x')", "traceback"), ("os.kill(os.getpid(), 9)", "crash"),
        ("bytes(b'x' * (2100 << 20))", "memory"), ("(folder / 'a').write_text('y')", "changed"),
        ("result.append('wrong')", "wrong"), ("result.append('read')", "read"),
    ],
)  # fmt: skip
def test_the_campaign_sees_every_defect(monkeypatch, does, outcome):
    def made(draw, folder):
        (folder / "a").write_text("x")

        def read():
            result = []
            exec(does, {"os": __import__("os"), "folder": folder, "result": result})
            return result[0] if result else "read"

        return read

    monkeypatch.setitem(campaign.KINDS, "files", made)
    assert campaign.run_one("files", "0") == outcome


def test_a_seed_gives_the_same_input():
    first, again, other = (mutations.broken(b"x" * 100, random.Random(seed), 50) for seed in "778")
    assert first == again != other
