"""Write tests/goldens/metrics.json, W2 between Gaussians by the dense formula, and resample.json, Pillow's resizing.

Samples are rounded to f32 first; mean and covariance in float64, the root by scipy.linalg.sqrtm.
Takes a second. Needs numpy, Pillow and scipy.
"""

import argparse
import json
import pathlib

import numpy as np
from PIL import Image
from scipy.linalg import sqrtm


def case(rng: np.random.Generator, n1: int, n2: int, width: int, shift: float) -> dict:
    mix = rng.standard_normal((width, width))
    a = np.round(rng.standard_normal((n1, width)), 4).astype(np.float32)
    b = np.round(rng.standard_normal((n2, width)) @ mix + shift, 4).astype(np.float32)
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    means = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    # The eigenvalues' roots where the product is singular, which sqrtm does not take.
    root = np.trace(sqrtm(c1 @ c2).real) if min(n1, n2) > width else np.sqrt(np.maximum(np.linalg.eigvals(c1 @ c2).real, 0)).sum()
    squared = means + np.trace(c1) + np.trace(c2) - 2 * root
    rounded = lambda rows: [[round(float(v), 4) for v in row] for row in rows]
    return {"a": rounded(a), "b": rounded(b), "means": means, "squared": float(squared)}


def resampled(rng: np.random.Generator) -> dict:
    """A picture of noise, whose every weight shows, by each of Pillow's filters to larger and smaller sizes."""
    source = rng.integers(0, 256, (7, 11, 3), dtype=np.uint8)
    cases = [
        {"filter": number, "width": width, "height": height,
         "bytes": list(Image.fromarray(source).resize((width, height), number).tobytes())}
        for number in range(6) for width, height in ((5, 4), (13, 9), (11, 3))
    ]  # fmt: skip
    return {"source": {"width": 11, "height": 7, "bytes": list(source.tobytes())}, "cases": cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens/metrics.json"))
    out = parser.parse_args().out
    rng = np.random.default_rng(0)
    cases = [case(rng, 30, 40, 5, 0.5), case(rng, 50, 20, 8, 0.0), case(rng, 12, 12, 1, 2.0), case(rng, 60, 60, 12, 1.0)]
    out.write_text(json.dumps({"wasserstein": cases}, separators=(",", ":")) + "\n")
    text = json.dumps(resampled(np.random.default_rng(1)), separators=(",", ":"))
    out.with_name("resample.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
