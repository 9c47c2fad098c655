"""Options that take several values in a row: `--seeds 0 1 2` beside `--seeds 0 --seeds 1 --seeds 2`."""

from typing import Any

from typer.core import TyperCommand


class ManyValuesCommand(TyperCommand):
    """A command whose repeatable options may also be given once with several values. It takes no arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return super().parse_args(ctx, repeat_option_names(args, repeatable))


def repeat_option_names(arguments: list[str], repeatable: set[str]) -> list[str]:
    """The arguments with a repeatable option's name in front of each of its values."""
    repeated: list[str] = []
    current: str | None = None
    values = 0
    for argument in arguments:
        if argument.startswith("--"):
            current, values = (argument, 0) if argument in repeatable else (None, 0)
        elif current is not None:
            values += 1
            if values > 1:
                repeated.append(current)
        repeated.append(argument)
    return repeated
