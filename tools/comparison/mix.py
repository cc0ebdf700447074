"""Draw two concepts in one picture (the paper's figure 8) with Infusion's concept files: figure8.png under target/comparison/results.

Each concept was learned alone; a prompt that marks both words takes both files. The first row of each pair is F's, with the
same prompt and seed. The other methods would have to be trained on both concepts together, so they are not drawn.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import common
from captions import PLACES
from draw import GUIDANCE

GROUNDS = ("pavement", "night", "sea")


def prompts(first: str, second: str) -> list[str]:
    return [f"a photo of a <{first}> and a <{second}> {PLACES[ground][0]}" for ground in GROUNDS]


def drawn(program: Path, model: Path, files: dict[str, Path], texts: list[str], seed: int) -> list[tuple[Image.Image, Image.Image]]:
    """(F's picture, the customised one) of each prompt."""
    uses = [part for word, file in files.items() for part in ("--concept", f"{word}={file}")]

    def one(text: str, folder: Path) -> tuple[Image.Image, Image.Image]:
        made, plain = folder / "c.png", folder / "f.png"
        command = [program, "generate", text, "--model", model, *uses, "--seed", seed, "--guidance-scale", GUIDANCE,
                   "--threads", 1, "-o", made, "--foundation", plain, "--overwrite", "--quiet", "--force"]  # fmt: skip
        subprocess.run([str(part) for part in command], check=True)
        return tuple(Image.open(file).convert("RGB") for file in (plain, made))

    with tempfile.TemporaryDirectory() as folder:
        return [one(text, Path(folder)) for text in texts]


def sheet(lines: list[tuple[str, list[Image.Image]]], file: Path) -> None:
    """A captioned row of pictures a line."""
    gap, head, (side, _) = 6, 18, lines[0][1][0].size
    columns = max(len(pictures) for _, pictures in lines)
    canvas = Image.new("RGB", (gap + columns * (side + gap), gap + len(lines) * (side + gap + head)), "white")
    pen = ImageDraw.Draw(canvas)
    for row, (caption, pictures) in enumerate(lines):
        top = gap + row * (side + gap + head)
        pen.text((gap, top), caption, fill=(24, 24, 24))
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (gap + column * (side + gap), top + head))
    canvas.save(file, optimize=True)


def concept_file(work: Path, concept: common.Concept, steps: int | None) -> Path:
    """The file that train.py made, or without `steps` the one that the project ships."""
    shipped = concept.folder.with_suffix(".safetensors")
    return work / concept.name / "infusion" / f"{steps:04}" / "concept.safetensors" if steps else shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=common.paths.MODEL)
    parser.add_argument("--work", type=Path, default=common.WORK)
    parser.add_argument("--program", type=Path, default=common.paths.REPOSITORY / "target/release/infusion")
    parser.add_argument("--steps", type=int, help="of train.py's concept files [default: the files in models/concepts]")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    concepts = [common.Concept.open(common.paths.CONCEPTS / name) for name in common.CONCEPTS]
    lines = []
    for first, second in itertools.combinations(concepts, 2):
        files = {concept.word: concept_file(a.work, concept, a.steps) for concept in (first, second)}
        plain, made = zip(*drawn(a.program, a.model, files, prompts(first.word, second.word), a.seed))
        title = f"a {first.word} and a {second.word}"
        lines += [(f"{title}: the model as it is", plain), (f"{title}: with both concepts", made)]
    target = a.work / "results"
    target.mkdir(parents=True, exist_ok=True)
    sheet(lines, target / "figure8.png")
    print(target / "figure8.png")


if __name__ == "__main__":
    main()
