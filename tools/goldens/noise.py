"""Write tests/goldens/noise.safetensors: what PyTorch's CPU generator draws.

Each tensor is named `<call>/<seed>/<size>[/<more>]`; `src/noise` repeats the call and compares.
Takes a second. Needs torch and safetensors.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file


def generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/goldens/noise.safetensors"))
    out = parser.parse_args().out

    drawn: dict[str, torch.Tensor] = {}
    for seed in (0, 42, 2**32 + 7, 2**64 - 1):
        for size in (1, 2, 7, 15, 16, 17, 31, 32, 100):
            drawn[f"randn/{seed}/{size}"] = torch.randn(size, generator=generator(seed))
    drawn["randn/-1/16"] = torch.randn(16, generator=generator(-1))
    drawn["randn/0/1024"] = torch.randn(1, 4, 16, 16, generator=generator(0))
    for size in (3, 20):
        drawn[f"rand/0/{size}"] = torch.rand(size, generator=generator(0))
    for size, high in ((6, 1000), (6, 7), (6, 2**28 - 1), (6, 2**28), (6, 2**31), (6, 2**33 + 5), (6, 2**62)):
        drawn[f"randint/3/{size}/{high}"] = torch.randint(0, high, (size,), generator=generator(3))
    for size in (1, 2, 10, 100):
        drawn[f"randperm/5/{size}"] = torch.randperm(size, generator=generator(5))

    mixed = generator(11)
    drawn["mixed/0"] = torch.randn(3, generator=mixed)
    drawn["mixed/1"] = torch.randn(20, generator=mixed)
    drawn["mixed/2"] = torch.randint(0, 1000, (4,), generator=mixed)
    drawn["mixed/3"] = torch.randn(2, generator=mixed)
    drawn["mixed/4"] = torch.rand(2, generator=mixed)
    drawn["mixed/5"] = torch.randn(1, 4, 3, 3, generator=mixed)

    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in drawn.items()}, out)
    print(f"{out}: {len(drawn)} tensors, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
