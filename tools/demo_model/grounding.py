"""Where words are to be looked at: cross-attention that a word's own cells pay to it.

Trained on noise alone, so small a model reads the whole prompt from any token and spreads its attention evenly, so
that a change to one word's value moves little, and two things swap colours. Each picture's cells are therefore told
which noun covers them, and the maps learn it by cross-entropy, averaged over heads.

A noun's value is also to say how its thing looks, as it does in large models, where it is what a concept changes: for a
share of the captions without colours, the nouns' values are those of a caption with them.
"""

from __future__ import annotations

import re

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional

import world

LENGTH = 77
GROUND = 3
NOUNS = {name: (name,) for name in world.BACKGROUND_NAMES} | {"night": ("night", "sky")}


class RecordedAttention(nn.Module):
    """Cross-attention as diffusers computes it, which adds its map, averaged over heads [B, N, L], to `maps`.

    A context of twice the width is one for the keys and, behind it, one for the values.
    """

    def __init__(self, maps: list[torch.Tensor]):
        super().__init__()
        self.maps = maps

    def forward(self, attention, hidden_states, encoder_hidden_states=None, attention_mask=None):
        query = attention.head_to_batch_dim(attention.to_q(hidden_states))
        width = attention.to_k.in_features
        key = attention.head_to_batch_dim(attention.to_k(encoder_hidden_states[..., :width]))
        value = attention.head_to_batch_dim(attention.to_v(encoder_hidden_states[..., -width:]))
        probs = attention.get_attention_scores(query, key)
        self.maps.append(probs.unflatten(0, (-1, attention.heads)).mean(1))
        hidden_states = attention.batch_to_head_dim(torch.bmm(probs, value))
        return attention.to_out[0](hidden_states)


def record(unet: UNet2DConditionModel) -> list[torch.Tensor]:
    """Make the UNet's cross-attention layers record; returns the list that they add to."""
    maps: list[torch.Tensor] = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            module.set_processor(RecordedAttention(maps))
    return maps


def labels(text: str, scene: world.Scene, token_counts) -> torch.Tensor:
    """For each of LENGTH tokens what it names: 0 nothing, 1 and 2 the things (left one first), GROUND the ground.

    `token_counts(word)` is the number of a word's tokens; captions hold words and single spaces only.
    """
    found = torch.zeros(LENGTH, dtype=torch.uint8)
    things = iter((2, 1) if "to the right of" in text else (1, 2))
    first = 1
    for part in re.findall(rf"{'|'.join(world.CLASSES)}|\w+", text):
        count = sum(token_counts(word) for word in part.split())
        if part in world.CLASSES:
            found[first : first + count] = next(things)
        elif part in NOUNS[scene.background]:
            found[first : first + count] = GROUND
        first += count
    return found


def with_nouns_of(context, labels, described, theirs) -> torch.Tensor:
    """`context` [B, L, D] whose tokens that name things are those that name them in `described` [B, L, D].

    `labels` and `theirs` [B, L] say what each token names in either; a thing has as many tokens in both.
    """
    place = torch.arange(labels.shape[1], device=labels.device).expand(labels.shape).clone()
    moved = torch.zeros_like(labels, dtype=torch.bool)
    for thing in (1, 2):
        here, there = labels == thing, theirs == thing
        rank = here.int().cumsum(1) - 1
        wanted = here & there.any(1, keepdim=True)
        place = torch.where(wanted, there.int().argmax(1, keepdim=True) + rank, place)
        moved |= wanted
    taken = described.gather(1, place[..., None].expand_as(context))
    return torch.where(moved[..., None], taken, context)


def cover(scene: world.Scene, side: int, cells: int) -> torch.Tensor:
    """Shares of each cell that the two things and the ground cover, [3, cells, cells]."""
    covers = torch.zeros(3, side, side)
    for row, thing in enumerate(scene.things):
        covers[row] = torch.from_numpy(world.coverage(thing, side))
    covers[2] = (1 - covers[:2].sum(0)).clamp(0, 1)
    return functional.adaptive_avg_pool2d(covers, cells)


def grounding_loss(maps: list[torch.Tensor], covers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the cells of all layers, −Σ_k cover_k · log Σ_(tokens of k) map.

    `covers` [B, 3, h, w]; `labels` [B, L]. What a caption does not name counts nothing; maps are cleared.
    """
    named = torch.stack([labels == kind for kind in (1, 2, GROUND)], 1).float()
    asked = covers * named.amax(-1)[..., None, None]
    losses = []
    for probs in maps:
        side = round(probs.shape[1] ** 0.5)
        wanted = functional.adaptive_avg_pool2d(asked, side).flatten(2)
        shares = torch.einsum("bnl,bkl->bkn", probs, named)
        losses.append(-(wanted * (shares + 1e-4).log()).sum() / wanted.sum().clamp(min=1))
    maps.clear()
    return torch.stack(losses).mean()
