"""What an open-set detector is asked: labels as one text, and where in it each label stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Code, JobError

#: BERT's ids that GroundingDINO takes for the borders between labels: [CLS], [SEP], full stop, question mark.
CLS, SEP, STOP, QUESTION = 101, 102, 1012, 1029
#: What begins a qualification: the noun that a label is about stands before it ("badge on the bonnet").
QUALIFIES = frozenset({"of", "on", "in", "at", "with", "from", "for", "by", "near", "under", "behind", "(", ",", ";", ":"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids`: [CLS] label . label . [SEP]; `spans`: for each of `labels`, as they were asked for, its tokens' range in `ids`, and `heads`
    the range of the noun that it is about, within that."""

    ids: tuple[int, ...]
    labels: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    heads: tuple[tuple[int, int], ...]


def prompts(labels: Sequence[str], tokenizer: Any, limit: int) -> list[Prompt]:
    """The labels in as few texts of at most `limit` tokens as their order allows; two that are the same words count once.

    `tokenizer` is BERT's. Raises JobError INVALID_INPUT for a label without a word that the tokenizer knows, and for
    one that does not fit into a text alone.
    """
    words: dict[tuple[int, ...], str] = {}
    for label in labels:
        words.setdefault(_tokens(label, tokenizer, limit), label)
    return [_prompt(group, tokenizer) for group in _grouped(words, limit)]


def _tokens(label: str, tokenizer: Any, limit: int) -> tuple[int, ...]:
    """A label's token ids, without the signs that would end it. In small letters "[SEP]" is a word like others, not a mark."""
    ids = tuple(i for i in tokenizer.encode(label.lower(), add_special_tokens=False) if i not in (CLS, SEP, STOP, QUESTION))
    if all(i == tokenizer.unk_token_id for i in ids):
        raise JobError(Code.INVALID_INPUT, f"remove: the detector knows no word of {label!r}.")
    if len(ids) + 3 > limit:
        raise JobError(Code.INVALID_INPUT, f"remove: {label[:40]!r}… is too long for the detector.")
    return ids


def _grouped(words: dict[tuple[int, ...], str], limit: int) -> Iterator[list[tuple[tuple[int, ...], str]]]:
    """Runs of labels whose tokens, a stop after each, and the two outer marks fit into `limit`."""
    group: list[tuple[tuple[int, ...], str]] = []
    length = 2
    for ids, label in words.items():
        if group and length + len(ids) + 1 > limit:
            yield group
            group, length = [], 2
        group.append((ids, label))
        length += len(ids) + 1
    if group:
        yield group


def _prompt(group: Sequence[tuple[tuple[int, ...], str]], tokenizer: Any) -> Prompt:
    ids: list[int] = [CLS]
    spans, heads = [], []
    for tokens, _ in group:
        start, (first, last) = len(ids), head(tokenizer.convert_ids_to_tokens(tokens), tokenizer.unk_token)
        spans.append((start, start + len(tokens)))
        heads.append((start + first, start + last))
        ids += [*tokens, STOP]
    return Prompt((*ids, SEP), tuple(label for _, label in group), tuple(spans), tuple(heads))


def head(pieces: Sequence[str], unknown: str) -> tuple[int, int]:
    """The range of a label's head noun among its word pieces ("##" goes on with a word): in English the last word of "car logo", and the
    last before a qualification of "badge on the bonnet". A label of signs alone is its own head."""
    starts = [i for i, piece in enumerate(pieces) if not piece.startswith("##")]
    noun = None
    for start, end in zip(starts, [*starts[1:], len(pieces)], strict=True):
        word = "".join(piece.removeprefix("##") for piece in pieces[start:end])
        if word in QUALIFIES:
            if noun:
                break
        elif word != unknown and word[0].isalnum():
            noun = (start, end)
    return noun or (0, len(pieces))
