"""docs/models.md says of each network what the catalogue says, and names those whose licences people trip over."""

import re
from pathlib import Path

from model_cache.catalogue import load_catalogue
from model_cache.embedded import EFFICIENTNET, ISNET, networks

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def rows(columns: int) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines if len(cells) == columns}


def test_the_model_volume_s_table_is_the_catalogue() -> None:
    told = rows(7)
    catalogue = load_catalogue()
    assert told.keys() == catalogue.keys()
    for name, model in catalogue.items():
        step, source, size, precision, licence, commercial = told[name]
        assert (licence, commercial) == (model.licence, model.commercial), name
        assert step in {model.step, "depth"}, name
        repository = re.split(r" \(GitHub\)|, ", source)[0]
        assert repository in (model.source.repository or model.source.url or ""), name
        if model.million_parameters and size:
            assert float(size) == round((model.bytes() or 0) / 1e9, 2), name
            assert precision == model.dtype, name


def test_networks_trained_on_a_set_with_terms_have_conditions() -> None:
    catalogue = load_catalogue()
    assert {catalogue[name].commercial for name in ("birefnet", "birefnet-hr", "birefnet-hr-matting")} == {"conditions"}
    embedded = networks()
    assert (embedded[ISNET].commercial, embedded[EFFICIENTNET].commercial) == ("conditions", "yes")


def test_what_may_not_be_used_commercially_is_named_where_networks_are_swapped() -> None:
    section = PAGE.partition("## Swapping a network")[2].partition("\n## ")[0]
    forbidden = section.partition("**Not for commercial use**")[2]
    assert forbidden
    for name in ("Depth-Anything-V2 Base and Large", "RMBG-2.0", "FLUX.1 dev"):
        assert name in forbidden, name
    repositories = {model.source.repository or "" for model in load_catalogue().values()}
    assert not [it for it in repositories if re.search(r"RMBG|FLUX|V2-(Base|Large)", it)]


def test_it_is_said_what_has_run_with_real_weights_and_how_to_prove_the_rest() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for text in (readme, PAGE):
        assert re.search(r"real\s+weights", text)
        assert "python -m builder doctor" in text
    said = readme.partition("has run with real weights")[2][:200]
    assert all(name in said for name in ("IS-Net", "EfficientNet-Lite0", "RapidOCR"))
