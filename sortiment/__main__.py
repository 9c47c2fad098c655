"""`python -m sortiment` is the installed `sortiment` command, found by its entry point.

The command line lives above this package (it drives Dagster), so it is looked up, not imported.
"""

from importlib.metadata import entry_points

(command,) = entry_points(group="console_scripts", name="sortiment")
command.load()()
