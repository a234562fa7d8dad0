"""The networks that are here are the pinned ones, and answer."""

import numpy as np
import onnxruntime as ort
import pytest

from model_cache.embedded import EFFICIENTNET, ISNET, networks, path_of, served
from model_cache.manifest import digest
from tests.conftest import NETWORKS


@pytest.mark.networks
@pytest.mark.parametrize("name", [ISNET, EFFICIENTNET])
def test_its_content_is_a_pinned_one(name):
    network = networks()[name]
    assert digest(path_of(NETWORKS, network)) in {form.sha256 for form in network.forms}
    assert served(NETWORKS)[name].sha256 == digest(path_of(NETWORKS, network))


@pytest.mark.networks
@pytest.mark.parametrize(
    ("name", "shape", "answer"), [(ISNET, (1, 3, 1024, 1024), (1, 1, 1024, 1024)), (EFFICIENTNET, (1, 3, 224, 224), (1, 1000))]
)
def test_it_loads_and_answers(name, shape, answer):
    session = ort.InferenceSession(served(NETWORKS)[name].path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (got,) = session.run([session.get_outputs()[0].name], {given.name: np.zeros(shape, np.float32)})
    assert got.shape == answer
    assert np.isfinite(got).all()
    assert 0 <= got.min() <= got.max() <= 1
