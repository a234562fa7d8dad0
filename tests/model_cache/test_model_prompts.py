"""Prompt embeddings: what diffusers' own pipeline computes, kept with the texts that they belong to."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_cache import prompts
from model_cache.cache import ModelCache, open_cache
from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel
from model_cache.volume import Volume
from pipeline import settings
from tests.support.tiny_volume import NEGATIVE, PROMPT, TEXT_1, TEXT_2

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def cache(tiny_volume: Path) -> ModelCache:
    return open_cache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"))


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [(PROMPT, NEGATIVE), ("a car", ""), ("flat vector, " * 60, "text " * 100), ("Größe, 車 <flt_vctr_style>", "a")],
)
def test_encode_is_what_diffusers_computes(cache: ModelCache, prompt: str, negative: str) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    text, unet, vae = cache.take("sdxl-text", "sdxl-unet", "sdxl-vae")
    pipe = StableDiffusionXLPipeline(
        vae, text.text_encoder, text.text_encoder_2, text.tokenizer, text.tokenizer_2, unet, EulerDiscreteScheduler()
    )
    with torch.inference_mode():
        positive, negatives, pooled, negative_pooled = pipe.encode_prompt(
            prompt, device=torch.device("cpu"), do_classifier_free_guidance=True, negative_prompt=negative
        )
    ours = prompts.encode(text, prompt, negative, "cpu")
    assert tuple(ours) == prompts.NAMES
    for name, theirs in zip(prompts.NAMES, (positive, negatives, pooled, negative_pooled), strict=True):
        assert torch.equal(ours[name], theirs), name
    assert ours["prompt_embeds"].shape == (1, 77, TEXT_1 + TEXT_2)
    assert ours["pooled_prompt_embeds"].shape == (1, TEXT_2)
    assert not torch.equal(ours["prompt_embeds"], ours["negative_prompt_embeds"])


def test_stored_embeddings_are_those_of_the_default_prompt(cache: ModelCache) -> None:
    assert (settings.load().phase2.sdxl.prompt, settings.load().phase2.sdxl.negative_prompt) == (PROMPT, NEGATIVE)
    path = cache.volume.prompts()
    assert path is not None
    stored = prompts.read(path, PROMPT, NEGATIVE)
    assert stored is not None
    computed = prompts.encode(cache.take("sdxl-text")[0], PROMPT, NEGATIVE, "cpu")
    assert all(torch.equal(stored[name], computed[name]) for name in prompts.NAMES)


@pytest.mark.parametrize(("prompt", "negative"), [("another", NEGATIVE), (PROMPT, "another"), (f"{PROMPT} ", NEGATIVE)])
def test_embeddings_of_another_text_are_not_taken(cache: ModelCache, prompt: str, negative: str) -> None:
    path = cache.volume.prompts()
    assert path is not None
    assert prompts.read(path, prompt, negative) is None


def test_written_texts_may_be_any(tmp_path: Path) -> None:
    tensors = {name: torch.randn(1, 3, generator=torch.Generator().manual_seed(1)) for name in prompts.NAMES}
    path = tmp_path / "prompts" / "default.safetensors"
    prompts.write(path, 'a "quoted"\nline 車', "", tensors)
    stored = prompts.read(path, 'a "quoted"\nline 車', "")
    assert stored is not None
    assert all(torch.equal(stored[name], tensors[name]) for name in prompts.NAMES)


def test_whoever_serves_may_read_what_the_builder_wrote(tmp_path: Path) -> None:
    path = tmp_path / "default.safetensors"
    prompts.write(path, PROMPT, NEGATIVE, {name: torch.zeros(1, 2) for name in prompts.NAMES})
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_none_is_refused(cache: ModelCache, tmp_path: Path) -> None:
    path = tmp_path / "default.safetensors"
    path.write_bytes(b"none")
    with pytest.raises(BrokenModel, match=r"prompts/default\.safetensors cannot be used"):
        prompts.read(path, PROMPT, NEGATIVE)
    whole = cache.volume.prompts()
    assert whole is not None
    partial = {name: t for name, t in load_file(whole).items() if not name.startswith("pooled")}
    save_file(partial, path, metadata={"prompt": PROMPT, "negative_prompt": NEGATIVE})
    with pytest.raises(BrokenModel, match="it lacks pooled_prompt_embeds"):
        prompts.read(path, PROMPT, NEGATIVE)
    path.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(BrokenModel, match=r"default\.safetensors"):
        prompts.read(path, PROMPT, NEGATIVE)
