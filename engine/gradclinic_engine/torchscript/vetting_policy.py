"""Which operators a model may name: by namespace or by name, with what the operator of a worker allows and denies."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMESPACES = frozenset(
    {
        *("aten", "prim", "prims", "quantized", "_quantized", "quantized_decomposed", "sparse"),
        *("mkldnn", "mkldnn_prepacked", "onednn", "torchvision", "torchaudio"),
    }
)
"""Allowed unless a name below says otherwise: arithmetic. All others are refused."""

DENIED = frozenset(
    {
        *("aten::from_file", "aten::save", "aten::load"),  # read and write files
        *("prim::rpc_async", "prim::rpc_sync", "prim::rpc_remote"),  # talk to other machines
        *("prim::PythonOp", "prim::CallPythonOp"),  # run Python
    }
)

CLASS_NAMESPACES = frozenset({"quantized", "rnn", "sparse", "xnnpack", "mkldnn"})
"""Where the built-in classes lie (`torch.classes.NAMESPACE`) that an archive may make objects of."""

_NAME = re.compile(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)?")


@dataclass(frozen=True, slots=True)
class OperatorPolicy:
    """What is added to the rules above. A name is a namespace, or `namespace::operator`; what is denied here wins.

    Attributes:
        allowed: Names that may be used although the rules above refuse them.
        denied: Names that may not be used although the rules above allow them.
    """

    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()

    def permits(self, operator: str) -> bool:
        """Whether a model may use an operator, given as `namespace::name`."""
        namespace = operator.partition("::")[0]
        names = {operator, namespace}
        if names & self.denied:
            return False
        return bool(names & self.allowed) or (namespace in NAMESPACES and operator not in DENIED)

    def permits_class(self, namespace: str) -> bool:
        """Whether an archive may make objects of the built-in classes of a namespace."""
        return namespace not in self.denied and (namespace in self.allowed or namespace in CLASS_NAMESPACES)


def parse_names(text: str) -> tuple[str, ...]:
    """The names in a list with commas.

    Raises:
        ValueError: One of them is no name.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is neither a namespace nor NAMESPACE::OPERATOR")
    return names


_in_force = OperatorPolicy()


def enforce(policy: OperatorPolicy) -> None:
    """Put a policy in force in this process; once, at its start."""
    global _in_force  # noqa: PLW0603 - a setting of the process, as torch's number of threads is
    _in_force = policy


def in_force() -> OperatorPolicy:
    """The policy of this process."""
    return _in_force
