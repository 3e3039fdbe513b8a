# Captionloop: the backend (the default command) and the worker (`captionloop worker`) from one image.
#
#   docker build -t captionloop .                                  CPU
#   docker build -t captionloop:cuda --build-arg TORCH=cuda .      NVIDIA GPU; run it with --gpus all
#   docker build -t captionloop --build-arg TORCH=index .          the PyTorch that pip finds, for example on a mirror
#
# What is installed is pinned in requirements.lock and requirements-cpu.lock, and checked by its hash. docs/containers.md
# says more. The worker and the backend find each other by REDIS_URL, CAPTIONLOOP_DATABASE_URL and the volume at
# CAPTIONLOOP_HOME.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS tools

RUN pip install --no-cache-dir --target /tools 'pip>=23.1' 'uv>=0.8'


# The pins of each of the two large layers, so that a layer is rebuilt only when they change.
FROM tools AS pins

WORKDIR /pins
COPY pyproject.toml requirements.lock requirements-cpu.lock ./
RUN mkdir torch libraries && cp requirements-cpu.lock torch && cp *.lock libraries && \
    sed -n '/^\(torch\|triton\|cuda-[^=]*\|nvidia-[^=]*\)==/,/[^\\]$/p' requirements.lock >torch/requirements.lock && \
    sed '/^\[tool\./,$d' pyproject.toml >libraries/pyproject.toml


# PyTorch alone. The ordinary one has gigabytes of CUDA; uv finds the CPU build at PyTorch's own index. Headers (there is no
# compiler) and PyTorch's tests are removed. Bytecode is compiled now, since the container has a read-only file system and
# would compile everything at each start.
FROM tools AS torch

ARG TORCH=cpu
WORKDIR /pins
COPY --from=pins /pins/torch ./
RUN uv="/tools/bin/uv pip install --no-cache --python /opt/captionloop --no-deps --require-hashes" && \
    pip="python /tools/pip --python /opt/captionloop/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes" && \
    /tools/bin/uv venv /opt/captionloop && \
    case "$TORCH" in \
        cpu) $uv --torch-backend cpu -r requirements-cpu.lock ;; \
        cuda) $uv -r requirements.lock ;; \
        index) $pip -r requirements-cpu.lock || $pip -r requirements.lock ;; \
        *) echo "TORCH is cpu, cuda or index, not $TORCH" >&2; exit 1 ;; \
    esac && \
    cd /opt/captionloop/lib/python3.*/site-packages && rm -rf torch/include torch/test && \
    find torch/bin -type f ! -name torch_shm_manager -delete && \
    python -m compileall -q -j 0 -x torch/testing/_internal .


# All other packages: installed with PyTorch present, so that no other one is resolved, and then without it. The parts of
# pycocoevalcap that need Java are removed.
FROM torch AS libraries

ARG EXTRAS=postgres
COPY --from=pins /pins/libraries ./
RUN /tools/bin/uv pip freeze --python /opt/captionloop >torch.txt && \
    /tools/bin/uv pip install --no-cache --python /opt/captionloop --require-hashes \
        -c requirements.lock -c requirements-cpu.lock -r pyproject.toml $(printf ' --extra %s' $EXTRAS) && \
    /tools/bin/uv pip uninstall --python /opt/captionloop -r torch.txt && \
    cd /opt/captionloop/lib/python3.*/site-packages && rm -rf pycocoevalcap/meteor pycocoevalcap/spice && \
    find . -type d '(' -name test -o -name tests ')' -prune -exec rm -rf {} + && \
    python -m compileall -q -j 0 .


FROM tools AS package

WORKDIR /src
COPY requirements.lock ./
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock >setuptools.lock && \
    pip install --no-cache-dir --target /setuptools --require-hashes -r setuptools.lock
COPY pyproject.toml MANIFEST.in README.md LICENSE ./
COPY src src
COPY backend backend
COPY jobs jobs
COPY model model
RUN PYTHONPATH=/setuptools pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . && \
    /tools/bin/uv venv /opt/captionloop && \
    /tools/bin/uv pip install --python /opt/captionloop --no-deps --compile-bytecode /wheel/*.whl


FROM python:${PYTHON}-slim

# No installer, so that only tested packages run.
RUN pip uninstall --yes pip && rm -rf /usr/local/lib/python3.*/ensurepip && \
    useradd --create-home --uid 10001 captionloop && install -d -o captionloop -g captionloop -m 700 /data
COPY --from=torch /opt/captionloop /opt/captionloop
COPY --from=libraries /opt/captionloop /opt/captionloop
COPY --from=package /opt/captionloop /opt/captionloop

ENV PATH=/opt/captionloop/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CAPTIONLOOP_HOME=/data \
    HF_HOME=/data/huggingface \
    CAPTIONLOOP_HOST=0.0.0.0 \
    CAPTIONLOOP_PORT=9090

USER captionloop
WORKDIR /data
VOLUME /data
EXPOSE 9090

# The port is read when the check runs, so that CAPTIONLOOP_PORT may be changed. A worker has no port: compose.yaml has a
# check for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['CAPTIONLOOP_PORT'] + '/health', timeout=3)"]

ENTRYPOINT ["captionloop"]
CMD ["serve"]
