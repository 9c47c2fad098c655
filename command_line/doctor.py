"""`sortiment doctor`: what this machine can and cannot do, and the command that mends it.

Each row was found out by using the thing, not by asking whether it is installed.
"""

import shutil
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resources.profiles import Profile
from sortiment.errors import EngineUnavailable, SortimentError
from sortiment.machine import describe_machine

LEAST_MEMORY_GB, LEAST_DISK_GB = 7.5, 5.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Finding:
    """One thing: whether it works, what was seen, what would mend it."""

    what: str
    works: bool
    seen: str
    mend: str = ""


def examine(profile: Profile) -> None:
    """Print the table. Things that are only missing, not broken, do not fail the command."""
    table = Table(title="What this machine can do")
    for column in ("", "what", "seen", "to mend it"):
        table.add_column(column, overflow="fold")
    for finding in find_out(profile):
        mark, mend = ("[green]yes[/]", "") if finding.works else ("[yellow]no[/]", finding.mend)
        table.add_row(mark, finding.what, escape(finding.seen), escape(mend))
    Console().print(table)


def find_out(profile: Profile) -> list[Finding]:
    """Every finding, in the order in which a newcomer meets them."""
    return [
        *_machine(profile),
        _packaged_encoder(profile),
        _gpu(),
        _neuron(),
        _browser(),
        _storage(profile),
        _market(profile),
    ]


def _machine(profile: Profile) -> list[Finding]:
    machine = describe_machine()
    memory = machine.memory_gb or 0.0
    place = next(folder for folder in (profile.home, *profile.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    fast = any("bf16" in flag for flag in machine.flags)
    return [
        Finding("Python 3.11 or newer", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11"),
        Finding("memory for the demo", memory >= LEAST_MEMORY_GB, f"{memory:.1f} GB", "8 GB; smaller: --settings"),
        Finding("disk for the demo", free >= LEAST_DISK_GB, f"{free:.0f} GB free at {place}", "set SORTIMENT_HOME"),
        Finding(
            "bf16 on the CPU",
            fast,
            f"{machine.cpu}, {machine.cores} cores ({', '.join(machine.flags) or 'no vector units named'})",
            "" if fast else "works in fp32, about half as fast; a CPU with AVX512_BF16 or AMX has it",
        ),
        _home(profile),
    ]


def _home(profile: Profile) -> Finding:
    try:
        profile.make_home()
    except SortimentError as error:
        return Finding("home can be written", False, str(error.value), error.fix or "")
    return Finding("home can be written", True, str(profile.home))


def _packaged_encoder(profile: Profile) -> Finding:
    from sortiment.encoders import resolve_encoder
    from sortiment.progress import silent

    reference = "package:multilingual-e5-small"
    try:
        encoder = resolve_encoder(reference, profile.encoder_cache, silent)
    except SortimentError as error:
        return Finding("real weights without a hub", False, str(error.what), error.fix or "")
    except OSError as error:
        return Finding("real weights without a hub", False, str(error), "set SORTIMENT_HOME")
    return Finding("real weights without a hub", True, f"{reference}, {encoder.parameters / 1e6:.0f} M parameters")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "GPU for the teacher", False, f"torch {torch.__version__} sees none", "a CUDA build of torch on a GPU"
        )
    return Finding("GPU for the teacher", True, torch.cuda.get_device_name(0))


def _neuron() -> Finding:
    from sortiment.engines.neuron import find_neuron
    from sortiment.settings import EngineSettings

    try:
        find_neuron(EngineSettings().neuron_target)
    except EngineUnavailable as lacking:
        return Finding("compile for AWS Neuron", False, str(lacking.value), str(lacking.allowed))
    return Finding("compile for AWS Neuron", True, "compiled x + 1")


def _browser() -> Finding:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return Finding(
        "browser for the page tests", found is not None, found or "none", "" if found else "apt-get install chromium"
    )


def _storage(profile: Profile) -> Finding:
    if profile.s3_root is None:
        s3 = "SORTIMENT_PROFILE=aws SORTIMENT_S3_ROOT=s3://..."
        return Finding("storage", True, f"local: {profile.home} (S3: {s3})")
    try:
        profile.storage().blobs.list("")
    except SortimentError as error:
        return Finding("storage", False, error.what, error.fix or "")
    except Exception as error:  # boto3 raises its own classes, made at run time
        return Finding("storage", False, f"{profile.s3_root}: {type(error).__name__}", "check the bucket and the role")
    return Finding("storage", True, profile.s3_root)


def _market(profile: Profile) -> Finding:
    exists = (profile.market_folder / "market.yaml").is_file()
    return Finding("a market is open", exists, profile.market, "" if exists else "make demo")
