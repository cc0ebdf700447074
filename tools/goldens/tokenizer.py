"""Make tests/goldens/tokenizer: a small CLIP-format vocabulary and what transformers makes of prompts.

The vocabulary has CLIP's layout (256 bytes, the same with `</w>`, merges, the two special tokens last),
trained on the few sentences below. `prompts.json` holds [prompt, token ids without start and end] by
transformers' CLIPTokenizer. Takes a few seconds.
"""

import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

SENTENCES = """
a photo of a ball in the snow, a photo of two balls on the beach
a striped teddy bear sitting on a wooden table, watercolour painting, highly detailed
the dog's toys aren't in the kitchen; they're under the bed, I've seen them, he'll find them, we'd hope
an oil painting of a red cube and a green sphere next to the stuffed animal
close-up photograph, studio lighting, 35mm film, blurry background, 1234567890
"""

PROMPTS = [
    "",
    " ",
    "a photo of a ball in the snow",
    "A Photo Of A BALL",
    "a  photo\tof\n\na\r\nball ",
    "a ball, two balls; three (balls)? four-balls! \"five\" 'six' seven...",
    "the dog's toys aren't here, they're gone; I've, he'll, we'd, I'm, it's",
    "DOG'S TOYS AREN'T",
    "35mm f/1.8 1234567890 3.14 1,000",
    "naïve café Ünïcödé Straße ǅ İstanbul ſ",
    "cafe\u0301 e\u0301 a\u030a",
    "日本語のボール 中文 한국어",
    "العربية עברית हिन्दी ไทย",
    "a ball 🎾 and 👩‍👩‍👧 with 🏳️‍🌈 flags ☃️❄",
    "ﬁ ﬂ ½ ² Ⅳ ４２ ①",
    "snake_case camelCase kebab-case",
    "<ball> <3 </w> a</w>b <|x|>",
    "emoji🎾inside word",
    "nbsp\u00a0space\u2003em\u3000ideographic\u200bzero",
    "control\u0000\u0007\u001c\u001d\u0085chars",
    "soft\u00adhyphen \ufeffbom",
    "math ∑ ∫ √2 ≈ 1.414 ± €5 £3 $2 ¥1 % & * @ # ~ ^ |",
    "a^^^b ___ --- +++ ===",
    "''s 's'' 't't ''' '",
    "supercalifragilisticexpialidocious pneumonoultramicroscopic",
    "𝒷𝒶𝓁𝓁 𝐛𝐨𝐥𝐝 ⓑⓐⓛⓛ",
    "Ω Å K ΑΒΓ ΣΑΣ",
    "<|startoftext|>a ball<|endoftext|>",
    "a ball <|ENDOFTEXT|> in snow",
    "a, b,c ,d",
    "x" * 200,
    "a ball in the snow, " * 20,
]


def train(folder: pathlib.Path) -> None:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, end_of_word_suffix="</w>", show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator(SENTENCES.strip().splitlines(), trainer)
    tokenizer.model.save(str(folder))
    merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = bytes_ + [b + "</w>" for b in bytes_] + ["".join(merge) for merge in merges]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in merges))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 77, "pad_token": "<|endoftext|>"}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--folder", type=pathlib.Path, default=root / "tests/goldens/tokenizer")
    parser.add_argument("--keep-vocabulary", action="store_true", help="only tokenise the prompts again")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if not args.keep_vocabulary:
        train(args.folder)
    tokenizer = CLIPTokenizer(
        vocab=str(args.folder / "vocab.json"), merges=str(args.folder / "merges.txt")
    )
    goldens = [[prompt, tokenizer(prompt, add_special_tokens=False).input_ids] for prompt in PROMPTS]
    lines = ",\n".join(json.dumps(pair) for pair in goldens)
    (args.folder / "prompts.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
