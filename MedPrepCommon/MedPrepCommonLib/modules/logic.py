"""What the Logic classes of all MedPrep modules share: operations and recipes on MRML nodes.

Every method takes a volume node and keyword parameters (or ``preset=``), leaves the input as it is, and
returns the new node, or a named tuple of nodes when there are several (main result first)::

    lungs = MedPrepCTLogic().segmentLungs(ctNode).lungs
"""

from __future__ import annotations

import inspect
import re
from collections import namedtuple
from collections.abc import Callable, Collection, Mapping
from typing import Any

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from ..core import engine, runner
from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import RESERVED, Operation, create, find
from ..core.recipe import Recipe, load
from ..core.result import Result
from ..core.task import Task
from ..core.volume import LabelVolume, Volume
from ..recipes import history
from ..scene import results as sceneresults
from ..scene import segments
from ..scene import volumes as scenevolumes
from .on_demand import ensurePackages


class MedPrepLogic(ScriptedLoadableModuleLogic):
    """Runs operations and recipes; works in a script without any GUI.

    A module's Logic names its operations, and has a method for each: ``ct.lungs`` is ``segmentLungs``.
    """

    #: Operations with a method of their own, by id.
    operationIds: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for method in map(consoleMethod, cls.__dict__.get("operationIds", ())):
            if method.__name__ not in cls.__dict__:
                setattr(cls, method.__name__, method)

    def task(self, op: Any, inputs: Mapping[str, Any], output: Any = None) -> Task:
        """The work of one operation with its input nodes already read.

        Parameters
        ----------
        op : an operation object.
        inputs : nodes by the operation's input names; a list where many are taken; None is left out.
        output : node that the main result goes into, or None for new nodes; of a list, the first of the
            result's kind (volume or segmentation) is taken.

        Raises
        ------
        MedPrepError
            when a node cannot be used.
        """
        spec = op.operation
        volumes = _read(spec.inputs, inputs)
        ensurePackages([op])
        # Results go beside the first image; the first input of all may be one that can be left out.
        images = [inputs.get(slot.name) for slot in spec.inputs if not slot.labels]
        node = next((image for image in images if image is not None), None)

        def compute(job: Job) -> Result:
            return engine.run(op, volumes, job)

        def write(result: Result) -> Any:
            return self._place(result, node, spec.title, output)

        return Task(spec.title, compute, write)

    def recipeTask(self, recipe: Recipe, inputs: Mapping[str, Any], accept: Collection[str] = ()) -> Task:
        """The work of a recipe with its input nodes already read; `inputs` by the recipe's input names.

        Computing raises an :class:`InputChecksError` where an input fails a check that is not in `accept`.
        """
        volumes = _read(recipe.inputs, inputs)
        ensurePackages(step.op for step in recipe.steps)
        node = next(node for node in inputs.values() if node is not None)

        def compute(job: Job) -> Result:
            done = runner.run(recipe, volumes, job, accept)
            if done.refusal is not None:
                raise done.refusal
            return done.result

        def write(result: Result) -> Any:
            return self._place(result, node, recipe.name, None)

        return Task(recipe.title or recipe.name, compute, write)

    def runRecipe(
        self,
        recipe: str | Recipe,
        image: Any = None,
        settings: Mapping[str, Any] | None = None,
        job: Job | None = None,
        accept: Collection[str] = (),
        **inputs: Any,
    ) -> Any:
        """Run a recipe on nodes and return the new nodes.

        Parameters
        ----------
        recipe : its name, the path of a .json file, or a Recipe.
        image : node for the recipe's input of that name; further inputs go by keyword.
        settings : parameters to change, as ``{"ct.window.level": -650}``.
        job : for progress and cancel.
        accept : ids of checks in spite of which it goes on when an input fails them: ``["missing-slices"]``.

        Raises
        ------
        InputChecksError
            when an input fails its checks; the error says why and which ids to accept.
        MedPrepError
            when the recipe, a setting or an input cannot be used; the scene is unchanged then.
        """
        recipe = recipe if isinstance(recipe, Recipe) else load(recipe)
        nodes = {**({} if image is None else {"image": image}), **inputs}
        if not any(node is not None for node in nodes.values()):
            raise InputError(
                _("Recipe {name} got no input.").format(name=recipe.name),
                _("Expected {names}.").format(names=", ".join(i.name for i in recipe.inputs)),
                _("Choose an input volume."),
            )
        return self.recipeTask(recipe.with_settings(settings or {}), nodes, accept).run(job)

    def recipeFromNode(self, *nodes: Any, name: str = "recorded") -> Recipe:
        """The recipe that makes these nodes again: what was done by hand, from their provenance.

        Parameters
        ----------
        nodes : volumes or segmentations that MedPrep made; the recipe has an output for each.
        name : of the recipe. ``json.dumps(recipe.to_json())`` is its file.

        Raises
        ------
        MedPrepError
            when a node was not made by MedPrep, or was changed since.
        """
        results: dict[str, Volume] = {}
        for node in nodes:
            isVolume = node.IsA("vtkMRMLVolumeNode") and not node.IsA("vtkMRMLLabelMapVolumeNode")
            volume = scenevolumes.volumeFromNode(node) if isVolume else segments.labelsAsMade(node)
            kind = "image" if isVolume else "labels"
            results[kind if kind not in results else f"{kind}{len(results) + 1}"] = volume
        return history.recipe_of(results, name)

    def _place(self, result: Result, node: Any, title: str, output: Any) -> Any:
        if node.GetScene() is None:
            raise InputError(
                _("The input volume was removed while it was being prepared."),
                _("Expected it to stay in the scene."),
                _("Load it again and repeat."),
            )
        nodes = sceneresults.placeResult(result, node, title, into=_destination(result, output))
        if len(nodes) == 1:
            return next(iter(nodes.values()))
        return _named(nodes)


def consoleMethod(operationId: str) -> Callable[..., Any]:
    """The Logic method of an operation; its signature and help come from the operation's definition."""
    spec = find(operationId)
    first, *others = spec.inputs

    def method(
        self: MedPrepLogic,
        node: Any,
        *,
        preset: str | None = None,
        output: Any = None,
        job: Job | None = None,
        **parameters: Any,
    ) -> Any:
        inputs = {
            first.name: node,
            **{s.name: parameters.pop(s.name) for s in others if s.name in parameters},
        }
        op = create(operationId, preset, **parameters)
        return self.task(op, inputs, output).run(job)

    keyword = inspect.Parameter.KEYWORD_ONLY
    names = [*RESERVED, *(slot.name for slot in others)]
    method.__name__ = method.__qualname__ = spec.console
    method.__doc__ = _help(spec)
    method.__signature__ = inspect.Signature(
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            inspect.Parameter(f"{first.name}Node", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(name, keyword, default=None) for name in names),
            *(inspect.Parameter(p.name, keyword, default=p.default) for p in spec.parameters),
        ]
    )
    return method


def _help(spec: Operation) -> str:
    lines = [spec.summary, "", "Parameters", "----------"]
    for p in spec.parameters:
        span = f"{p.span.low:g} to {p.span.high:g}" if p.span else " | ".join(p.choices)
        if p.kind == "list":
            span = f"{p.count.least} to {p.count.most} of {span or p.item}"
        lines += [
            f"{p.name} : {span or p.kind} {p.unit}, default {p.default}".replace(" ,", ","),
            f"    {p.help}" + (f"; used with {p.when.words()}" if p.when else ""),
        ]
    if spec.presets:
        lines += [f"preset : {' | '.join(spec.presets)}"]
    return "\n".join(lines)


def _named(nodes: Mapping[str, Any]) -> Any:
    """The nodes as a named tuple. What Python forbids in a name, as in that of a label map, becomes ``_``."""
    fields = [re.sub(r"\W", "_", name) for name in nodes]
    return namedtuple("Nodes", fields, rename=True)(*nodes.values())


def _destination(result: Result, output: Any) -> Any:
    """The node that the main result goes into."""
    if not isinstance(output, (list, tuple)):
        return output
    main = next(iter(result.volumes().values()), None)
    wanted = "vtkMRMLSegmentationNode" if isinstance(main, LabelVolume) else "vtkMRMLVolumeNode"
    return next((node for node in output if main is not None and node.IsA(wanted)), None)


def _read(slots: Any, inputs: Mapping[str, Any]) -> dict[str, Volume | tuple]:
    """Volumes of nodes by input name; label inputs take the first image's grid, if they must."""
    volumes: dict[str, Any] = {}
    reference = next((node for slot in slots if not slot.labels and (node := inputs.get(slot.name))), None)
    for name in inputs:
        if name not in {slot.name for slot in slots}:
            raise InputError(
                _("There is no input called {name!r}.").format(name=name),
                _("Expected {names}.").format(names=", ".join(slot.name for slot in slots)),
            )
    for slot in slots:
        node = inputs.get(slot.name)
        if node is None:
            continue
        if not slot.labels:
            volumes[slot.name] = scenevolumes.volumeFromNode(node)
        elif getattr(slot, "many", False):
            nodes = node if isinstance(node, (list, tuple)) else (node,)
            volumes[slot.name] = tuple(_labels(slot, n, reference) for n in nodes)
        else:
            volumes[slot.name] = _labels(slot, node, reference)
    return volumes


def _labels(slot: Any, node: Any, reference: Any) -> LabelVolume:
    if getattr(slot, "own_grid", False) and node is not None:
        return segments.labelsAsMade(node)
    return segments.labelsFromNode(node, reference)
