"""Every registered model of images: its tiny version has an ONNX form that computes the same, or says what has none."""

import numpy as np
import pytest

import vision
from nn.io.onnx_export import export_onnx
from scripts.gradcheck import off_the_kinks, tiny_batch, tiny_data

TASKS = ("classification", "segmentation", "detection")
runtime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("name", [name for name, entry in vision.MODELS.items() if entry.task in TASKS])
def test_onnxruntime_computes_the_same(name, tmp_path):
    entry, rng = vision.MODELS[name], np.random.default_rng(0)
    data = tiny_data(name, entry.tiny)
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options))
    for _, layer in model.layers():
        if getattr(layer, "running_var", None) is not None:
            layer.running_mean[...] = 0.1 * rng.standard_normal(layer.running_mean.shape)
            layer.running_var[...] = rng.uniform(0.5, 1.5, layer.running_var.shape)
    images = np.asarray(tiny_batch(model, data, entry.tiny.scenes)[0], np.float32)[:1]
    others = rng.standard_normal(images.shape).astype(np.float32) * images.std()
    try:
        written = export_onnx(model, images, tmp_path / "model.onnx", model.dense)
    except ValueError as error:
        if "has no ONNX form: " not in str(error):
            raise
        pytest.skip(str(error))
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    wanted = model.dense(others)
    assert any((wanted[key] != written[key]).any() for key in wanted)  # they depend on the images
    for key, got in zip(wanted, session.run(list(wanted), {"images": others})):
        np.testing.assert_allclose(got, wanted[key], rtol=0, atol=1e-4 * abs(wanted[key]).max(), err_msg=key)
