"""A small vocabulary in CLIP's byte-pair format.

All bytes are tokens, so that any text can be encoded. The world's words are one token each,
apart from "doughnut", which stays two ("dough", "nut</w>").
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import captions
import world

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
SPLIT_WORDS = {"doughnut": ("dough", "nut")}
MORE_WORDS = """
the of and with in on at to a an is it this that my your one two three photo picture image drawing painting
background top bottom left right middle centre center side front behind above below near next
black white grey gray brown dark light bright striped spotted half
small little tiny large big huge beach water sky stars street stone floor field winter summer
""".split()


def byte_symbols() -> dict[int, str]:
    """CLIP's printable stand-in for each byte, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in symbols]
    symbols.update({byte: chr(256 + k) for k, byte in enumerate(hidden)})
    return symbols


def world_words() -> list[str]:
    """Every word a caption can hold, sorted, without those that are to be split."""
    tables = (captions.PLACES, captions.EMPTY_GROUNDS, captions.WHERE)
    phrases = [phrase for table in tables for phrases in table.values() for phrase in phrases]
    phrases += [*captions.OPENINGS, *captions.SMALL, *captions.LARGE, *world.CLASSES, *world.COLOUR_NAMES, *MORE_WORDS]
    words = {word for phrase in phrases for word in re.findall(r"[a-z]+", phrase)}
    return sorted(words - SPLIT_WORDS.keys())


def learn_merges(pieces: list[list[str]]) -> list[tuple[str, str]]:
    """Byte-pair merges, commonest pair first (ties by spelling), until every piece is one symbol."""
    merges = []
    while any(len(piece) > 1 for piece in pieces):
        pairs = Counter(pair for piece in pieces for pair in zip(piece, piece[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [merged(piece, best) for piece in pieces]
    return merges


def merged(piece: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for symbol in piece:
        if result and (result[-1], symbol) == pair:
            result[-1] += symbol
        else:
            result.append(symbol)
    return result


def build_tokenizer(folder: Path) -> None:
    """Write the four files that diffusers and optimum put in `tokenizer/`."""
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in world_words()]
    for head, tail in SPLIT_WORDS.values():
        pieces += [[*head], [*tail[:-1], tail[-1] + "</w>"]]
    merges = learn_merges(pieces)
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(dict.fromkeys(tokens))})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    special = {name: special_token(END) for name in ("eos_token", "unk_token")}
    write_json(
        folder / "special_tokens_map.json", {"bos_token": special_token(START), **special, "pad_token": END}
    )


def special_token(content: str) -> dict:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def tokenizer_config() -> dict:
    typed = {name: {"__type": "AddedToken", **special_token(END)} for name in ("eos_token", "unk_token")}
    return {
        "add_prefix_space": False,
        "bos_token": {"__type": "AddedToken", **special_token(START)},
        **typed,
        "pad_token": END,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": LENGTH,
        "tokenizer_class": "CLIPTokenizer",
    }


def write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
