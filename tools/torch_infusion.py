"""The two streams of Infusion in PyTorch, written from the equations: the oracle of every golden.

F (foundation) is the UNet as it is; its cross-attention maps M and values V are recorded. C (customised) takes
M from F in every cross-attention layer and sees V + mask . delta (eq. 7). A library for the scripts beside it.

Shapes: B rows, H heads, N query positions, L context tokens, d value width of a layer, S concept slots,
D = sum of d over the layers in execution order (down, mid, up).
"""

import torch
from diffusers import UNet2DConditionModel

STAGES = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}


def cross_attention_layers(unet):
    """(module path, module) of each cross-attention in execution order; `named_modules` lists mid after up."""
    found = [(n, m) for n, m in unet.named_modules() if n.endswith("attn2")]
    return sorted(found, key=lambda item: STAGES[item[0].split(".")[0]])


class SelfAttention:
    """Self-attention by its equation, for any float type and with gradients."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        query, key, value = (heads(attn, f(hidden_states)) for f in (attn.to_q, attn.to_k, attn.to_v))
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return output(attn, out)


class CrossAttention:
    """Records the map and the value while the ledger's stream is F; replays them with delta while it is C."""

    def __init__(self, index, ledger):
        self.index, self.ledger = index, ledger

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        value = attn.to_v(encoder_hidden_states)
        if self.ledger.replay:
            probs, value = self.ledger.maps[self.index], self.ledger.customise(self.index, value)
        else:
            query, key = heads(attn, attn.to_q(hidden_states)), heads(attn, attn.to_k(encoder_hidden_states))
            probs = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
            self.ledger.maps[self.index], self.ledger.values[self.index] = probs, value
        return output(attn, probs @ heads(attn, value))


def heads(attn, x):
    return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)


def output(attn, x):
    return attn.to_out[1](attn.to_out[0](x.transpose(1, 2).flatten(2)))


class Streams:
    """F and C of one UNet. `widths[i]` is layer i's value width; `paths[i]` its module path."""

    def __init__(self, unet: UNet2DConditionModel):
        self.unet = unet
        layers = cross_attention_layers(unet)
        self.paths = [path for path, _ in layers]
        self.heads = [m.heads for _, m in layers]
        self.widths = [m.to_v.out_features for _, m in layers]
        self.replay, self.maps, self.values = False, {}, {}
        index = {f"{path}.processor": i for i, path in enumerate(self.paths)}
        unet.set_attn_processor(
            {n: CrossAttention(index[n], self) if n in index else SelfAttention() for n in unet.attn_processors}
        )

    @property
    def total_width(self):
        return sum(self.widths)

    def customise(self, index, value):
        """V + mask . delta of layer `index` (several concepts: eq. 9)."""
        start = sum(self.widths[:index])
        return value + self.mask @ self.delta[:, start : start + self.widths[index]]

    def foundation(self, sample, timestep, context, **more):
        """F's prediction; leaves its maps and values in `maps` and `values`."""
        self.replay, self.maps, self.values = False, {}, {}
        return self.unet(sample, timestep, context, return_dict=False, **more)[0]

    def customised(self, sample, timestep, context, maps, mask, delta, **more):
        """C's prediction with F's `maps` (dict by layer), `mask` [B,L,S] and `delta` [S,D]."""
        self.replay, self.maps, self.mask, self.delta = True, maps, mask, delta
        try:
            return self.unet(sample, timestep, context, return_dict=False, **more)[0]
        finally:
            self.replay = False

    def separate(self, sample_f, sample_c, timestep, context, mask, delta, **more):
        """(F's prediction on its own latents, C's on its own with F's maps): the `dual` graph."""
        prediction = self.foundation(sample_f, timestep, context, **more)
        return prediction, self.customised(sample_c, timestep, context, dict(self.maps), mask, delta, **more)

    def shared(self, sample, timestep, context, mask, delta, rows):
        """(C's prediction, F's) on one latent; rows outside `rows` are F's: the `shared` graph."""
        prediction = self.foundation(sample, timestep, context)
        maps = {i: m[rows] for i, m in self.maps.items()}
        mask = mask.expand(len(sample), -1, -1)[rows]
        timestep = timestep[rows] if timestep.ndim and len(timestep) > 1 else timestep
        out = prediction.clone()
        out[rows] = self.customised(sample[rows], timestep, context[rows], maps, mask, delta)
        return out, prediction

    def gradient(self, sample, timestep, context, mask, delta, target):
        """(loss, d loss / d delta, prediction): mean squared error of C against `target`, F on the same latent."""
        with torch.no_grad():
            self.foundation(sample, timestep, context)
        delta = delta.detach().clone().requires_grad_(True)
        prediction = self.customised(sample, timestep, context, dict(self.maps), mask, delta)
        loss = torch.nn.functional.mse_loss(prediction, target)
        (grad,) = torch.autograd.grad(loss, delta)
        return loss.detach(), grad, prediction.detach()
