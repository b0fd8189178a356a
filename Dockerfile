# Three images: `train` (PyTorch), `loadtest` (Locust), and, last and default, `service` (no torch).

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
# The environment is made without pip, so that the images hold none.
RUN python3 -m venv --without-pip /opt/heed
COPY pyproject.toml constraints.txt README.md LICENSE heed.py demo.py ./
COPY service service
COPY model model
COPY export export
COPY loadtest loadtest


FROM build AS build-train
# Where pip takes PyTorch from. Empty: the default index, whose Linux build brings CUDA libraries.
ARG TORCH_INDEX_URL=
RUN python3 -m pip --python /opt/heed/bin/python install --no-cache-dir -c constraints.txt \
        ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch \
    && python3 -m pip --python /opt/heed/bin/python install --no-cache-dir -c constraints.txt \
        ".[train,export]"


FROM build AS build-loadtest
RUN python3 -m pip --python /opt/heed/bin/python install --no-cache-dir -c constraints.txt ".[load]"


FROM build AS build-service
RUN python3 -m pip --python /opt/heed/bin/python install --no-cache-dir -c constraints.txt ".[serve]"


FROM python:3.11-slim-bookworm AS base
# /models exists and belongs to the user, so that a volume mounted there does too.
RUN useradd --uid 10001 --create-home heed && install -d -o 10001 -g 10001 /models
ENV PATH=/opt/heed/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /home/heed
USER 10001
ENTRYPOINT ["heed"]


FROM base AS train
COPY --from=build-train /opt/heed /opt/heed
COPY deploy/train-once.sh /usr/local/bin/train-once
CMD ["train", "--help"]


FROM base AS loadtest
COPY --from=build-loadtest /opt/heed /opt/heed
COPY slo.yaml .
CMD ["loadtest", "--help"]


FROM base AS service
COPY --from=build-service /opt/heed /opt/heed
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["serve", "--model", "/models", "--host", "0.0.0.0"]
