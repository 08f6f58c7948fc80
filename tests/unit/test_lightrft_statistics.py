"""filtered_samples_stats.txt: what cannot be read is told from what is wrong."""

from __future__ import annotations

from winnow import scoring
from winnow.formats.lightrft_statistics import count
from winnow.formats.rescoring import deciding_scorers
from winnow.formats.sources import source
from winnow.records import Prompt
from winnow.scoring.streams import as_row

SCORERS = scoring.parse(
    ["choice", 'format={"tags": ["answer"]}', 'all_of={"scorers": ["choice", "format"]}', "length"]
)
TEXTS = (
    "<answer>Image 1 is better</answer>",
    "<answer>Image 2 is better</answer>",
    "I cannot tell",
    "<answer>both</answer>",
    "Image 1 is better, without tags",
)


def scored(sample, text):
    said = {}
    for name, scorer in SCORERS.items():
        if hasattr(scorer, "combine"):
            said[name] = scorer.combine(said)
        else:
            said[name] = scorer.score(text, "Image 1 is better")
    scores = {name: as_row(score, 1) for name, score in said.items()}
    row = {"id": f"p/{sample}", "text": text, "finish_reason": "stop", "scores": scores}
    return source(row, Prompt("p", []))


def test_a_parse_failure_is_one_whatever_else_is_wrong_with_the_completion():
    sources = [scored(sample, text) for sample, text in enumerate(TEXTS)]
    # Of a combination that has a value for it: not well-formed, hence not right.
    assert sources[2].row["scores"]["all_of"]["value"] == 0
    combined = deciding_scorers("all_of", SCORERS)
    assert combined == {"all_of", "choice", "format"}
    assert count(sources, "all_of", combined).text(1) == (
        "Total samples: 5\nCorrect samples: 1\nAccuracy: 20.00%\nParse failures: 2\n"
        "Not generated: 0\nFiltered samples for training: 1\n"
    )
    assert count(sources, "choice").parse_failures == 2
    assert count(sources, "length").parse_failures == 0
