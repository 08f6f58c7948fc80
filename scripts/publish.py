#!/usr/bin/env python
"""Push an arm's training data to the Hugging Face hub: one commit, private unless asked otherwise.

    scripts/publish.py --results results/arithmetic --step 460 --alpha kl_symmetry --n 8 \\
        --repo_id user/name --license apache-2.0 --dry_run

shows what would go, without any network. The same without --dry_run sends it, with the token of the
environment variable HF_TOKEN. --all publishes every arm, each as configurations of its own. What goes is
the training data, the statistics of the selection, a data card made of the run's files (README.md), and
its facts for programs (winnow.json); with --images also the image files that the rows name, into images/.

Refused: files that are being written, that do not hold what was selected, or whose ledger does not add up;
a repository that holds something else, unless --update is given. Killed or failed, run it again: large files
that arrived are not sent again, and what is there already makes no commit. HF_ENDPOINT names another hub.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from pathlib import Path

from winnow.command_line import parser, positive_int, run
from winnow.errors import UserError
from winnow.publishing.contents import contents, refuse_token
from winnow.publishing.image_files import FOLDER, Images, find_prompts, find_root, named_images, read_images
from winnow.publishing.preview import preview
from winnow.publishing.push import Target, push
from winnow.publishing.recipe import unrecorded
from winnow.publishing.request import check_license, check_repo_id, connect, endpoint, token
from winnow.publishing.run_files import RunFiles, find_arms, read_run

log = logging.getLogger("publish")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--results", required=True, type=Path, help="results/<run>")
    p.add_argument("--step", help="of the arm; not needed where there is one")
    p.add_argument("--alpha", help="of the arm; not needed where there is one")
    p.add_argument("--n", type=positive_int, help="of the arm; not needed where there is one")
    p.add_argument("--all", action="store_true", help="every arm that step, alpha and n leave")
    p.add_argument("--repo_id", required=True, help="user/name or organization/name on the hub")
    p.add_argument("--formats", nargs="+", default=[], help="of the training data; all that were exported")
    p.add_argument(
        "--license", help="as the hub names it, such as apache-2.0; the card has none if not given"
    )
    p.add_argument(
        "--images",
        action="store_true",
        help="send the image files that rows name, too: many they may be, and another's; without, rows name "
        "images that others do not have",
    )
    p.add_argument(
        "--image_root", type=Path, help="where the images lie; where the prompts were read, if not given"
    )
    p.add_argument("--public", action="store_true", help="make the repository public; private if not given")
    p.add_argument("--revision", default="main", help="the branch; made if it is missing")
    p.add_argument("--update", action="store_true", help="replace what an earlier push left there")
    p.add_argument("--commit_message", help="of the one commit; names run and arms if not given")
    p.add_argument(
        "--workdir",
        type=Path,
        help="the folder in which snakemake ran, where its records are not found: the card's commands are of "
        "them",
    )
    p.add_argument("--dry_run", action="store_true", help="show what would go; no network, no token")
    return p


def main(arguments: argparse.Namespace) -> None:
    check_repo_id(arguments.repo_id)
    check_license(arguments.license)
    if arguments.image_root and not arguments.images:
        raise UserError(
            "--image_root",
            "given, and --images is not",
            "both, or neither",
            "add --images to publish the image files",
        )
    # Asked for first: reading a large run takes a while.
    secret = None if arguments.dry_run else token()
    arms = find_arms(arguments.results, arguments.step, arguments.alpha, arguments.n, arguments.all)
    found = read_run(arguments.results, arms, arguments.formats, arguments.workdir)
    if missing := unrecorded(found):
        log.warning(
            "the card lacks the commands of %s: no record of their jobs was found. Name by --workdir the "
            "folder in which snakemake ran, if it has them",
            ", ".join(missing),
        )
    images = images_of(found, arguments)
    files = contents(found, arguments.repo_id, arguments.revision, arguments.license, images)
    said = choice(found, images, arguments.public)
    message = arguments.commit_message or f"{found.name}: {', '.join(arm.path for arm in arms)}"
    target = Target(arguments.repo_id, arguments.revision, arguments.public, arguments.update, message)
    if secret is None:
        print(preview(target, files, endpoint(), said))
        return
    refuse_token(files, secret)
    if named_images(found):
        log.info("images: %s", said)
    pushed = push(connect(secret), target, files)
    address = f"{endpoint()}/datasets/{arguments.repo_id}/tree/{pushed.commit}"
    if pushed.made:
        log.info("one commit, %d files written, %d removed: %s", pushed.added, pushed.removed, address)
    else:
        log.info("nothing to do: the repository holds these files already: %s", address)


def images_of(found: RunFiles, arguments: argparse.Namespace) -> Images | None:
    """The images that go along; None where they stay, or where no row names any."""
    named = named_images(found) if arguments.images else {}
    if not named:
        return None
    root, prompts = find_root(found, arguments.image_root), find_prompts(found, arguments.results)
    images = read_images(named, root, prompts)
    if images.compared < len(images.files):
        log.warning(
            "%d of %d images were not compared: the prompts' records have no digest of them",
            len(images.files) - images.compared,
            len(images.files),
        )
    return images


def choice(found: RunFiles, images: Images | None, public: bool) -> str:
    """What becomes of the images, for whoever runs the program."""
    if images is not None:
        seen = "everybody" if public else "whoever may read the repository"
        return (
            f"{len(images.files):,} files, {images.size:,} bytes, to {FOLDER}/: {seen} gets them as they "
            "are; publish only what you may"
        )
    if named := named_images(found):
        return (
            f"{len(named):,} that rows name are not published, and others cannot show them; --images sends "
            "them too, if you may publish them"
        )
    return "none: no row names any"


if __name__ == "__main__":
    run(main, flags())
