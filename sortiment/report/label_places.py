"""Where the names of points go, so that none hides another."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sortiment.report.style import AXIS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels
NEAR_PLACES = 8  # beyond these a thin line leads from the text to its point


def place_labels(axes: "Axes", points: Sequence[Point], texts: Sequence[str], joined: Sequence[Point] = ()) -> None:
    """Write each text near its point, where it hides no point, no other text and not the line through `joined`.

    A greedy search in pixels, after the axes have their final limits: each text takes its least bad place.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    points_per_pixel = 72 / figure.dpi
    frame = axes.get_window_extent()
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    taken += _boxes_along([tuple(axes.transData.transform(point)) for point in joined])
    for (x, y), point, text in sorted(zip(pixels, points, texts, strict=True), key=lambda one: (-one[0][1], one[2])):
        probe = axes.annotate(text, point, (0, 0), textcoords="offset points", color=INK, va="bottom", ha="left")
        extent = probe.get_window_extent()
        probe.remove()
        width, height = extent.width, extent.height
        places = _places_around(width, height)
        boxes = [(x + dx, y + dy, x + dx + width, y + dy + height) for dx, dy in places]
        others = [pixel for pixel in pixels if pixel != (x, y)]
        penalties = [
            sum(_overlap(box, other) for other in taken)
            + 3 * _outside(box, frame.extents)
            + (60 if _is_nearer_to_another(box, (x, y), others) else 0)
            + (
                sum(_overlap(step, other) for step in _leader((x, y), box) for other in taken)
                if place >= NEAR_PLACES
                else 0
            )
            + place
            for place, box in enumerate(boxes)
        ]
        best = penalties.index(min(penalties))
        taken.append(boxes[best])
        dx, dy = (offset * points_per_pixel for offset in places[best])
        far = best >= NEAR_PLACES
        left, bottom, right, top = boxes[best]
        nearest = (min(max((x - left) / (right - left), 0.0), 1.0), min(max((y - bottom) / (top - bottom), 0.0), 1.0))
        line = {"arrowstyle": "-", "color": AXIS, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4, "relpos": nearest}
        axes.annotate(
            text, point, (dx, dy), textcoords="offset points", color=INK, va="bottom", ha="left", annotation_clip=False,
            arrowprops=line if far else None,
        )  # fmt: skip


def _places_around(width: float, height: float) -> list[Point]:
    """Where a text's lower left corner may be, seen from its point: eight places at each of four distances."""
    places: list[Point] = []
    for distance in (6, 16, 28, 42):
        places += [(distance, -height / 2), (-width - distance, -height / 2)]
        for lift in (distance, -height - distance):
            places += [(-width / 2, lift), (2, lift), (-width - 2, lift)]
    return places


def _boxes_along(corners: Sequence[Point]) -> list[Box]:
    """Small boxes along a polyline, one every ten pixels."""
    boxes: list[Box] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        steps = max(int(max(abs(x1 - x0), abs(y1 - y0)) / 10), 1)
        for step in range(steps + 1):
            x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
            boxes.append((x - 2, y - 2, x + 2, y + 2))
    return boxes


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _leader(point: Point, box: Box) -> list[Box]:
    """The line from a point to its text, without its start, as small boxes."""
    end = (min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3]))
    return [step for step in _boxes_along([point, end]) if _distance(step, point) > 6]


def _is_nearer_to_another(box: Box, own: Point, others: Sequence[Point]) -> bool:
    """Would a reader take the text for another point's?"""
    return any(_distance(box, other) < _distance(box, own) + 6 for other in others)


def _distance(box: Box, point: Point) -> float:
    x, y = point
    return max(box[0] - x, x - box[2], 0.0) + max(box[1] - y, y - box[3], 0.0)


def _outside(box: Box, frame: Any) -> float:
    """The box's area beyond the frame."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return area - _overlap(box, tuple(frame))
