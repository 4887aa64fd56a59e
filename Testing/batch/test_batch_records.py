"""What a batch writes down about a case that failed holds no path, no name and no free text of the files."""

from __future__ import annotations

import dicomfiles
import numpy as np
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app

SECRETS = ("DOE", "JANE", "NE 1960", "PLANTED", "MISS", "5000002")


def test_records_of_failed_dicom_cases_name_nobody(tmp_path):
    stored = np.random.default_rng(0).integers(0, 2000, (4, 8, 8)).astype(np.uint16)
    folder = tmp_path / "scans" / "a"
    damaged = dicomfiles.write_series(folder / "MISS JANE 1960" / "PLANTED 0001", stored, dicomfiles.stack(4))
    damaged[1].write_bytes(damaged[1].read_bytes()[:-40])
    two = tmp_path / "scans" / "b"
    for n, text in enumerate(("DOE JANE PLANTED", "MISS PLANTED")):
        own = {"SeriesDescription": text, "SeriesInstanceUID": f"1.2.3.4.500000{n + 2}", "SeriesNumber": n}
        dicomfiles.write_series(two / f"DOE {n}", stored, dicomfiles.stack(4), **own)
    (tmp_path / "cases.csv").write_text("case,image\na,scans/a\nb,scans/b\n")
    done = CliRunner().invoke(
        app.app,
        [
            *("batch", "ct-soft-tissue", str(tmp_path / "cases.csv")),
            *("--out", str(tmp_path / "out"), "--workers", "0", "--quiet"),
        ],
    )
    assert done.exit_code == 3, done.output
    written = "\n".join(p.read_text(errors="replace") for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert "damaged or incomplete" in written and "holds 2 series" in written
    for secret in SECRETS:
        assert secret not in written.upper(), secret
