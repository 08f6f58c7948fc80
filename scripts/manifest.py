#!/usr/bin/env python
"""Describe a model by its content: the small file that the pipeline depends on.

    scripts/manifest.py --model models/policy --output manifest.json

Lists the files with sizes and SHA-256 and derives the model's hash. Fails for a directory that is
no complete Hugging Face model: no weights, weights only as pickles, no tokenizer.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
from dataclasses import replace

from winnow.command_line import parser, run
from winnow.manifest import resolve


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="a directory, or a hub name org/name[@revision]")
    p.add_argument("--output", required=True, help="the manifest")
    return p


def main(arguments: argparse.Namespace) -> None:
    _, manifest = resolve(arguments.model)
    # As it was given, so that the manifest is the same in a copied checkout.
    replace(manifest, directory=arguments.model).write(arguments.output)


if __name__ == "__main__":
    run(main, flags())
