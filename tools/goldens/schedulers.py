"""Write tests/goldens/schedulers.{json,safetensors}: trajectories of diffusers' schedulers.

A toy model, `tanh(0.7 x + 0.4 cos(0.003 t))`, stands in for the UNet on latents of [1, 4, 4, 4].
The JSON lists the cases (sampler, `scheduler_config.json`, number of steps, first step); the
safetensors file holds, for each case, the timesteps and the latents after the steps named in the case.
Noise for step i is the base noise rolled by i places, so both sides draw the same.
Takes about ten seconds. Needs torch, diffusers and safetensors; torchsde is not needed, since the
Brownian tree of DPM++ SDE is replaced by one path made of the same rolled noise.
"""

import argparse
import json
import math
import sys
import types
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import (
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
    scheduling_lcm,
)

sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))

from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402

SHAPE = (1, 4, 4, 4)

STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}

SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "ddpm": (DDPMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_karras": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "dpmpp_sde": (DPMSolverSDEScheduler, {}),
    "dpmpp_sde_karras": (DPMSolverSDEScheduler, {"use_karras_sigmas": True}),
    "lms": (LMSDiscreteScheduler, {}),
    "lms_karras": (LMSDiscreteScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}

V = {"prediction_type": "v_prediction"}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", **V}
TRAINED = {"trained_betas": [0.0001 + 0.00002 * i for i in range(500)], "num_train_timesteps": 500}


def spacing(name: str) -> dict:
    return {"timestep_spacing": name}


SPACINGS = [spacing("leading"), spacing("trailing"), spacing("linspace")]
BETAS = [{"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}, {"beta_schedule": "squaredcos_cap_v2"}]
KARRAS = {"use_karras_sigmas": True}
CLIP = {"clip_sample": True, "clip_sample_range": 0.8}

VARIANTS = {
    "ddim": [V, {"prediction_type": "sample"}, CLIP, {"set_alpha_to_one": True}, ZERO_SNR, TRAINED, *SPACINGS, *BETAS],
    "ddpm": [V, {"prediction_type": "sample"}, CLIP, ZERO_SNR, {"variance_type": "fixed_large"}, *SPACINGS, *BETAS],
    "euler": [V, {"prediction_type": "sample"}, KARRAS, ZERO_SNR, {"final_sigmas_type": "sigma_min"}, *SPACINGS, *BETAS],
    "euler_a": [V, ZERO_SNR, TRAINED, *SPACINGS, *BETAS],
    "heun": [V, {"prediction_type": "sample"}, KARRAS, CLIP, *SPACINGS, *BETAS],
    "dpmpp_2m": [
        V,
        {"prediction_type": "sample"},
        ZERO_SNR,
        {"solver_order": 1},
        {"solver_type": "heun"},
        {"final_sigmas_type": "sigma_min"},
        {"euler_at_final": True},
        {"lower_order_final": False},
        {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"},
        *SPACINGS,
        *BETAS,
    ],
    "dpmpp_2m_karras": [V, *BETAS],
    "dpmpp_2m_sde": [V, {"solver_type": "heun"}, *SPACINGS],
    "dpmpp_sde": [V, *SPACINGS, *BETAS],
    "lms": [V, {"prediction_type": "sample"}, *SPACINGS, *BETAS],
    "unipc": [
        V,
        {"prediction_type": "sample"},
        ZERO_SNR,
        KARRAS,
        {"solver_order": 1},
        {"solver_order": 3},
        {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"predict_x0": False, "final_sigmas_type": "sigma_min"},
        {"lower_order_final": False, "final_sigmas_type": "sigma_min"},
        {"disable_corrector": [0, 3]},
        {"final_sigmas_type": "sigma_min"},
        *SPACINGS,
        *BETAS,
    ],
    "lcm": [V, {"prediction_type": "sample"}, CLIP, {"timestep_scaling": 3.0}, {"original_inference_steps": 20}, *BETAS],
}


def model(scaled: torch.Tensor, timestep: float) -> torch.Tensor:
    return torch.tanh(0.7 * scaled + 0.4 * math.cos(0.003 * timestep))


class RolledNoise:
    """Draws the base noise rolled by the index of the step now taken."""

    def __init__(self, base: torch.Tensor):
        self.base = base
        self.index = 0

    def __call__(self, *_args, **_kwargs) -> torch.Tensor:
        return torch.roll(self.base.flatten(), self.index).reshape(SHAPE)


class OnePath:
    """One Brownian path over sigma, for DPMSolverSDEScheduler: asked for (s, mid), then for (s, next)."""

    def __init__(self, noise: RolledNoise):
        self.noise = noise
        self.left = None

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        fresh = self.noise()
        if self.left is None:
            self.left = (sigma_next, fresh * (sigma - sigma_next).abs().sqrt())
            return fresh
        middle, walked = self.left
        self.left = None
        walked = walked + fresh * (middle - sigma_next).abs().sqrt()
        return walked / (sigma - sigma_next).abs().sqrt()


def cases() -> list[dict]:
    listed = []
    for sampler in SAMPLERS:
        steps = (1, 2, 4, 10, 50)
        listed += [{"sampler": sampler, "config": {}, "num_inference_steps": n} for n in steps]
        if sampler not in ("lms", "lms_karras", "lcm"):
            listed.append({"sampler": sampler, "config": {}, "num_inference_steps": 10, "strength": 0.6})
        for override in VARIANTS.get(sampler, []):
            listed.append({"sampler": sampler, "config": override, "num_inference_steps": 10})
    for eta in (0.5, 1.0):
        listed.append({"sampler": "ddim", "config": {}, "num_inference_steps": 10, "eta": eta})
    return listed


def start_at(scheduler, begin: int) -> None:
    """Without this diffusers looks the first step up by its timestep, and goes wrong where rounding repeats one."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)


def run(case: dict, noise: RolledNoise) -> tuple[torch.Tensor, torch.Tensor]:
    cls, extra = SAMPLERS[case["sampler"]]
    config = {**STABLE_DIFFUSION, **case["config"]}
    scheduler = cls.from_config({**config, **extra})
    n = case["num_inference_steps"]
    scheduler.set_timesteps(n)
    all_timesteps = scheduler.timesteps
    begin = 0
    if "strength" in case:
        begin = max(n - min(int(n * case["strength"]), n), 0) * scheduler.order
        start_at(scheduler, begin)
        latents = scheduler.add_noise(0.5 * noise.base.flip(-1), noise.base, all_timesteps[begin : begin + 1])
    else:
        start_at(scheduler, 0)
        latents = noise.base * scheduler.init_noise_sigma
    if isinstance(scheduler, DPMSolverSDEScheduler):
        scheduler.noise_sampler = OnePath(noise)
    options = {"eta": case["eta"]} if "eta" in case else {}

    last = len(all_timesteps) - 1
    case["begin"] = begin
    case["recorded"] = sorted({begin, begin + (last - begin) // 2, last})
    case["init_noise_sigma"] = float(scheduler.init_noise_sigma)
    samples = []
    for index in range(begin, len(all_timesteps)):
        noise.index = index
        timestep = all_timesteps[index]
        output = model(scheduler.scale_model_input(latents, timestep), float(timestep))
        if "eta" in case:
            options["variance_noise"] = noise()
        latents = scheduler.step(output, timestep, latents, **options).prev_sample
        if index in case["recorded"]:
            samples.append(latents)
    return all_timesteps.to(torch.float32), torch.cat(samples).to(torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/goldens/schedulers"), help="path without suffix")
    out = parser.parse_args().out
    warnings.simplefilter("ignore")

    base = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    noise = RolledNoise(base)
    for module in (
        scheduling_ddpm,
        scheduling_dpmsolver_multistep,
        scheduling_euler_ancestral_discrete,
        scheduling_lcm,
    ):
        module.randn_tensor = noise

    listed = cases()
    tensors = {"base": base}
    for number, case in enumerate(listed):
        timesteps, samples = run(case, noise)
        if not torch.isfinite(samples).all():
            raise SystemExit(f"case {number} is not finite: {case}")
        tensors[f"{number}.timesteps"] = timesteps
        tensors[f"{number}.samples"] = samples.contiguous()

    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n  ".join(json.dumps(case) for case in listed)
    config = json.dumps(STABLE_DIFFUSION)
    out.with_suffix(".json").write_text(f'{{"scheduler_config": {config}, "cases": [\n  {lines}\n]}}\n')
    save_file(tensors, out.with_suffix(".safetensors"))
    print(f"{len(listed)} cases, {out.with_suffix('.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
