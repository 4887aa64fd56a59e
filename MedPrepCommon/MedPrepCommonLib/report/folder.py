"""The page of a folder's quality control: the checks across cases, then every case, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..core.i18n import _
from . import parts as parts
from .style import CSS


def page(name: str, record: Mapping[str, Any]) -> str:
    """The HTML text for the JSON of :meth:`MedPrepCommonLib.quality.folder.FolderQuality.to_json`."""
    cases = record["cases"]
    every = [check for case in cases for check in case["checks"]]
    quality = {"verdict": record["verdict"], "checks": [*record["checks"], *every], "notes": []}
    across = parts.checks({"checks": record["checks"], "notes": []})
    order = {"fail": 0, "warn": 1, "pass": 2}
    bodies = "".join(_case(case) for case in sorted(cases, key=lambda c: order[c["verdict"]]))
    title = _("Quality control of {name}").format(name=name)
    counts = ", ".join(
        _("{n} {word}").format(n=n, word=parts.words(verdict).lower())
        for verdict in order
        if (n := sum(case["verdict"] == verdict for case in cases))
    )
    lead = _("{n} cases: {counts}.").format(n=len(cases), counts=counts)
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - MedPrep</title><style>{CSS}</style></head>\n<body>"
        f'<header><div><div class="row"><div><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></div>'
        f"{parts.verdict(quality)}</div></div></header><main>"
        f"<section><h2>{escape(_('Across cases'))}</h2>{across}</section>"
        f"<section><h2>{escape(_('Cases'))}</h2>{bodies}</section>"
        f"<footer>{escape(versions)}</footer></main></body></html>\n"
    )


def _case(case: Mapping[str, Any]) -> str:
    """One case, folded open where something is wrong."""
    facts = [case["case"], *(t for t in (case["split"], case["patient"]) if t)]
    summary = (
        f'<span class="badge {case["verdict"]}">{escape(parts.words(case["verdict"]))}</span> '
        f"{escape(' · '.join(facts))} "
        f'<span class="muted">{escape(parts.verdict_text(case))}</span>'
    )
    opened = "" if case["verdict"] == "pass" else " open"
    body = parts.checks({"checks": case["checks"], "notes": []})
    return f"<details{opened}><summary>{summary}</summary>{body}</details>"
