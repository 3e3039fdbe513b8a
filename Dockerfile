# Captionloop: the backend (the default command) and the worker (`captionloop worker`) from one image.
#
#   docker build -t captionloop .                                  CPU
#   docker build -t captionloop:cuda --build-arg TORCH=cuda .      NVIDIA GPU; run it with --gpus all
#
# The worker and the backend find each other by REDIS_URL, CAPTIONLOOP_DATABASE_URL and the volume at CAPTIONLOOP_HOME.

FROM python:3.11-slim AS build

ARG TORCH=cpu
# Compiled now: what runs later has a read-only file system, and would compile all of PyTorch at each start.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1

RUN pip install uv && python -m venv /opt/captionloop
ENV PATH=/opt/captionloop/bin:$PATH VIRTUAL_ENV=/opt/captionloop

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./

# PyTorch first: it is by far the largest layer, and changes only with its range, which is read from pyproject.toml. The
# ordinary build brings gigabytes of CUDA with it; uv knows where PyTorch keeps the one for the CPU.
RUN torch="$(sed -n 's/^ *"\(torch>=[^"]*\)".*/\1/p' pyproject.toml)" && test -n "$torch" && \
    case "$TORCH" in \
        cpu) uv pip install --torch-backend cpu "$torch" ;; \
        cuda) uv pip install "$torch" ;; \
        *) echo "TORCH is cpu or cuda, not $TORCH" >&2; exit 1 ;; \
    esac

COPY src src
COPY backend backend
COPY jobs jobs
COPY model model
RUN pip install '.[postgres]'


FROM python:3.11-slim

RUN useradd --create-home --uid 10001 captionloop && install -d -o captionloop -g captionloop -m 700 /data
COPY --from=build /opt/captionloop /opt/captionloop

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

# The port is read here, when the check runs, so that CAPTIONLOOP_PORT may be another one. A worker has no port: compose
# gives it a check of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['CAPTIONLOOP_PORT'] + '/health', timeout=3)"]

ENTRYPOINT ["captionloop"]
CMD ["serve"]
