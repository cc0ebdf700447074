"""Textual Inversion: one token's embedding learns, nothing else (Gal et al. 2022, arXiv:2208.01618)."""

from __future__ import annotations

import torch

from common import IDENTIFIER, Method


class TextualInversion(Method):
    name = "textual_inversion"
    source = "arXiv:2208.01618; diffusers/examples/textual_inversion"
    rate = 5e-3
    changes = frozenset({"text_encoder"})

    def prepare(self) -> None:
        self.table = self.model.text.get_input_embeddings().weight
        (self.place,) = self.model.tokens(IDENTIFIER)
        with torch.no_grad():
            self.table[self.place] = self.table[self.model.tokens(self.concept.word)].mean(0)
        self.before = self.table.detach().clone()
        self.table.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.table]

    def prompt(self, plain: str) -> str:
        return plain.replace(self.concept.word, IDENTIFIER)

    def after_step(self) -> None:
        """All other embeddings stay what they were."""
        with torch.no_grad():
            learned = self.table[self.place].clone()
            self.table.copy_(self.before)
            self.table[self.place] = learned

    def stored(self) -> dict[str, torch.Tensor]:
        return {"embedding": self.table[self.place].detach()}
