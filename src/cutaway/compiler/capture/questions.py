"""What a captured model was found to depend on beside its key: answers that must be the same in the next process.

Dynamo's guards name all that it read of globals (``ACT`` is this function, ``LAYERS`` has two items, ``"eps"`` is in
``OPTIONS``) and of the model's own objects. Guards themselves cannot be kept, because they compare addresses. Each is
kept as a question and the text of its answer (``text.py``), and asked again before a kept model is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.compiler.capture.text import Texts
from cutaway.identity.sources import UncacheableError


def answers(questions: Iterable[str], function: Any, model: torch.nn.Module) -> dict[str, str]:
    """The answers now, for keeping them.

    Args:
        questions: of ``torch_internals.guarded_values``.
        function: the plain function that is captured.
        model: its first argument.

    Raises:
        UncacheableError: a global has no text that tells it from its like.
    """
    found: dict[str, str] = {}
    asked = answers_or_reasons(questions, function, model)
    for question, (answer, reason) in asked.items():
        if answer is not None:
            found[question] = answer
        elif "G['" in question:  # what is asked of the model alone is in its key, too
            raise UncacheableError(f"the guard {question}", reason)
    return found


def changed_answers(was: dict[str, str], function: Any, model: torch.nn.Module) -> list[str]:
    """Questions that have another answer now, or none."""
    asked = answers_or_reasons(was, function, model)
    return sorted(question for question, (answer, _) in asked.items() if answer != was[question])


def answers_or_reasons(
    questions: Iterable[str], function: Any, model: torch.nn.Module
) -> dict[str, tuple[str | None, str]]:
    """Of each question its answer, or why there is none."""
    questions = list(questions)
    if not questions:
        return {}
    texts = Texts(model, values_of_classes=False)  # those that were read have guards of their own
    scope = torch_internals.GuardScope(function.__globals__, owner_of(function), model)
    found: dict[str, tuple[str | None, str]] = {}
    for question in questions:
        try:
            found[question] = texts.of(scope.value(question), question), ""
        except UncacheableError as error:
            found[question] = None, str(error)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is not what was read)
            found[question] = None, f"{type(error).__name__}: {error}"
    return found


def owner_of(function: Any) -> str:
    """Name of the argument of a captured function that is the model."""
    return function.__code__.co_varnames[0] if function.__code__.co_argcount else "self"
