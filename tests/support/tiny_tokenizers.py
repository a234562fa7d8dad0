"""Tokenizers of CLIP and BERT with a small vocabulary, in the genuine files: nothing is fetched, nothing is trained."""

import json
from pathlib import Path

from transformers.convert_slow_tokenizer import bytes_to_unicode

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_VEHICLES = ("car", "vehicle", "truck", "bus", "motorcycle")
_PARTS = ("side", "view", "mirror", "logo", "brand", "badge", "license", "plate", "text", "sticker", "a", "the")


def write_clip_tokenizer(folder: Path, pad_token: str = "<|endoftext|>") -> int:
    """The four files of SDXL's `tokenizer` (`tokenizer_2` pads with "!"); returns the size of the vocabulary."""
    symbols = list(bytes_to_unicode().values())  # "!" is number 0, as in CLIP
    vocabulary = symbols + [f"{s}</w>" for s in symbols]
    merges: list[str] = []
    for word in ("flat", "car", "vector", "style", "text", "lines"):  # so that pairs really are merged
        left, *rest = [*word[:-1], word[-1] + "</w>"]
        for part in rest:
            merges.append(f"{left} {part}")
            left += part
            vocabulary.append(left)
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad_token}
    settings = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "errors": "replace", "model_max_length": 77}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "vocab.json", {token: i for i, token in enumerate(vocabulary)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges)]) + "\n")
    _write(folder / "special_tokens_map.json", special)
    _write(folder / "tokenizer_config.json", {"add_prefix_space": False, **settings, **special})
    return len(vocabulary)


def write_bert_tokenizer(folder: Path) -> int:
    """vocab.txt with the ids that GroundingDINO takes for granted: [CLS] 101, [SEP] 102, "." 1012, "?" 1029; returns its size."""
    vocabulary = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for sign, at in ((".", 1012), ("?", 1029)):
        vocabulary += [f"[unused{i}]" for i in range(len(vocabulary), at)] + [sign]
    vocabulary += dict.fromkeys([*_VEHICLES, *_PARTS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)])
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    _write(folder / "special_tokens_map.json", special)
    _write(
        folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **special}
    )
    return len(vocabulary)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
