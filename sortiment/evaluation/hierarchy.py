"""Mistakes weighed by the tree: an answer in the right department is half right.

Hierarchical F1 counts ancestors: precision is the share of the answers' path nodes that are on the truths' paths,
recall the reverse, over all offers (Kiritchenko et al. 2006, "Learning and Evaluation in the Presence of Class
Hierarchies"). A path's node is the path down to it, so equal names in two departments stay two nodes.
"""

from collections.abc import Mapping, Sequence


def hierarchical_f1(true_ids: Sequence[str], predicted_ids: Sequence[str], paths: Mapping[str, Sequence[str]]) -> float:
    """Between 0 and 1. paths: category id to names, root first; an id without one counts as its own only node."""
    shared = answered = expected = 0
    for actual, predicted in zip(true_ids, predicted_ids, strict=True):
        truth, answer = paths.get(actual, (actual,)), paths.get(predicted, (predicted,))
        expected += len(truth)
        answered += len(answer)
        for one, other in zip(truth, answer, strict=False):
            if one != other:
                break
            shared += 1
    return 2 * shared / (expected + answered) if expected + answered else 0.0
