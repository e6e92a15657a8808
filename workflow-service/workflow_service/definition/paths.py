"""Where a step stands in a run. Open it for what `each.3/both.left/name` means.

The scope of a step is the branch that it runs in: "" in the main branch, else the path of the
enclosing step, a dot and the name of the branch. `each.3/both.left` is the branch `left` of the
step `both`, which runs for item 3 of the step `each`.
"""

from typing import NamedTuple


class StepPath(NamedTuple):
    """Names a step by its scope and its name."""

    scope: str
    name: str

    def __str__(self) -> str:
        return f"{self.scope}/{self.name}" if self.scope else self.name

    @property
    def parent(self) -> "StepPath | None":
        """Return the step whose branch this one runs in, or None in the main branch."""
        return find_enclosing(self.scope)

    @property
    def branch(self) -> str:
        """Return the name of the branch that this step runs in: `left` of `both.left/name`."""
        return self.scope.rpartition(".")[2]

    @property
    def root(self) -> str:
        """Return the step of the main branch that this one runs in, or its own name."""
        return str(self).partition("/")[0].partition(".")[0]

    def get_branch_scope(self, branch: str) -> str:
        return f"{self}.{branch}"


def find_enclosing(scope: str) -> StepPath | None:
    """Return the step that the branch belongs to: `each.3/both` for `each.3/both.left`."""
    outer, _, inner = scope.rpartition("/")
    name = inner.rpartition(".")[0]
    return StepPath(outer, name) if name else None


def list_visible_scopes(scope: str) -> list[str]:
    """Return the scopes whose outputs a step sees: its own and all around it, outermost first."""
    scopes = [""]
    for part in scope.split("/") if scope else []:
        scopes.append(f"{scopes[-1]}/{part}" if scopes[-1] else part)
    return scopes
