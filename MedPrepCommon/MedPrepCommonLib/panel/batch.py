"""The section *Batch* of a panel: a recipe on many cases, in a process of its own; the window stays live."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import slicer

from ..batch import process
from ..batch.running import Plan
from ..core import recipe
from ..core.errors import Cancelled, MedPrepError
from ..core.i18n import _

# How often progress is shown and the end of the batch noticed.
POLL_MS = 200


class BatchSection:
    """Loads ``Batch.ui`` into a panel's layout and drives it.

    Parameters
    ----------
    layout : that the section is added to.
    file : path of ``Batch.ui``.
    failed : called with the :class:`MedPrepError` of a batch that could not begin or go on.
    """

    def __init__(self, layout: Any, file: str, failed: Callable[[MedPrepError], None]) -> None:
        import qt

        self.section = slicer.util.loadUI(file)
        layout.addWidget(self.section)
        self.ui = slicer.util.childWidgetVariables(self.section)
        self._failed = failed
        self.running: process.Running | None = None
        #: What the last batch came to.
        self.summary: dict[str, Any] | None = None
        self._recipes = self._fillRecipes()
        self._last = ""
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
        self.ui.batch_apply.connect("clicked(bool)", lambda *_args: self.onApply())
        for name in ("batch_cases", "batch_out"):
            getattr(self.ui, name).connect("currentPathChanged(QString)", lambda *_args: self.update())
        self.ui.batch_progress.visible = False
        self.ui.batch_table.setColumnCount(3)
        self.ui.batch_table.setHorizontalHeaderLabels([_("Case"), _("Status"), _("What is wrong")])
        self.update()

    def cleanup(self) -> None:
        """The panel goes away: the batch is asked to stop; it can be resumed."""
        self._timer.stop()
        if self.running is not None:
            self.running.cancel()
            self.running = None

    def _fillRecipes(self) -> list[str]:
        names = []
        for name in recipe.available():
            try:
                title = recipe.load(name).title
            except MedPrepError:
                continue  # it needs a module that is not installed
            names.append(name)
            self.ui.batch_recipe.addItem(title or name)
        return names

    def update(self) -> None:
        """Enable the button, or say beside it why it is not."""
        ui, reason = self.ui, ""
        if self.running is None:
            if not ui.batch_cases.currentPath.strip():
                reason = _("Choose a CSV file with cases, or a folder of images.")
            elif not ui.batch_out.currentPath.strip():
                reason = _("Choose a folder for the results.")
        ui.batch_apply.enabled = not reason
        ui.batch_apply.text = _("Run batch") if self.running is None else _("Cancel")
        ui.batch_reason.text = reason
        ui.batch_reason.visible = bool(reason)

    def onApply(self) -> None:
        """Run batch was clicked; while it runs the same button cancels it."""
        if self.running is not None:
            self.running.cancel()
            self.ui.batch_status.text = _("Cancelling ...")
            return
        try:
            self.running = self._start()
        except MedPrepError as error:
            self._failed(error)
            return
        self.summary = None
        self.ui.batch_log.setPlainText("")
        self.ui.batch_table.setRowCount(0)
        self.ui.batch_progress.visible = True
        self._show(0.0, _("Starting"))
        self._timer.start()
        self.update()

    def _start(self) -> process.Running:
        ui = self.ui
        own = ui.batch_recipeFile.currentPath.strip()
        chosen = own or self._recipes[ui.batch_recipe.currentIndex]
        plan = Plan(
            # -1 is "by the cores"; without Dask there is one process, whatever is chosen.
            workers=None if ui.batch_workers.value < 0 else ui.batch_workers.value,
            memory=int(ui.batch_memory.value * (1 << 30)) or None,
            scheduler=ui.batch_scheduler.text.strip(),
            resume=ui.batch_resume.checked,
            page=ui.batch_page.checked,
        )
        pattern = ui.batch_pattern.text.strip()
        source = os.path.expanduser(ui.batch_cases.currentPath.strip())
        patterns = pattern.split() if os.path.isdir(source) else []
        return process.Running(
            recipe.load(chosen), source, ui.batch_out.currentPath.strip(), plan, patterns=patterns
        )

    def poll(self) -> None:
        """Timer: show progress, or the end."""
        if self.running is None:
            self._timer.stop()
            return
        atWork = self.running.poll()
        self._show(self.running.fraction, self.running.message)
        if not atWork:
            ended, self.running = self.running, None
            self._timer.stop()
            self.ui.batch_progress.visible = False
            self._finish(ended)
            self.update()

    def _show(self, fraction: float, message: str) -> None:
        self.ui.batch_progress.value = round(100 * fraction)
        if message and message != self._last:
            self._last = message
            self.ui.batch_status.text = message
            self.ui.batch_log.appendPlainText(message)

    def _finish(self, ended: process.Running) -> None:
        try:
            found = ended.summary()
        except Cancelled:
            self._say(_("Cancelled; finished cases are safe. Choose Resume to go on."))
            return
        except MedPrepError as error:
            self._say(error.wrong)
            self._failed(error)
            return
        self.summary = found
        failed, pending = found["failed"], found["pending"]
        self._say(
            _("{done} cases done, {failed} failed: {folder}").format(
                done=len(found["done"]), failed=len(failed), folder=found["folder"]
            )
        )
        for note in found["notes"]:
            self.ui.batch_log.appendPlainText(note)
        rows = [(name, _("failed"), f"{e['wrong']} {e['advice']}") for name, e in failed.items()]
        rows += [(name, _("not begun"), "") for name in pending]
        rows += [(name, _("done"), "") for name in found["done"]]
        self._fillTable(rows)

    def _say(self, text: str) -> None:
        self.ui.batch_status.text = text
        self.ui.batch_log.appendPlainText(text)

    def _fillTable(self, rows: list[tuple[str, str, str]]) -> None:
        import qt

        table = self.ui.batch_table
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
