"""Folded weights, kept from one call with a scorer to the next."""

from typing import Any
from weakref import WeakKeyDictionary

import jax

from jaxunreg.scoring.scorer import Scorer, fold_scorer

# Of the last scorer alone, since folded weights are several times as large as the weights: the leaves of its variables,
# and the folded scorer.
_kept: WeakKeyDictionary[Scorer, tuple[list[Any], Scorer]] = WeakKeyDictionary()


def folded_once(scorer: Scorer) -> Scorer:
    """Return `fold_scorer(scorer)`, and keep the last result as long as its scorer lives.

    Folding takes as long as scoring some images, so many calls with one scorer should not each pay for it. Nothing is
    kept if a variable is a NumPy array, which can change in place, or while JAX traces.
    """
    leaves = jax.tree.leaves(scorer.variables)
    # In one step: another thread may fold another scorer.
    kept = _kept.get(scorer)
    if kept is not None and list(map(id, kept[0])) == list(map(id, leaves)):
        return kept[1]
    folded = fold_scorer(scorer)
    # A program around this call makes tracers of the results, even if no variable is one.
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(folded))
    if not traced and all(isinstance(leaf, jax.Array) for leaf in leaves):
        _kept.clear()
        _kept[scorer] = (leaves, folded)
    return folded
