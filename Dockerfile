# syntax=docker/dockerfile:1
#
#   docker build -t blab .
#       the weights are fetched at the first start, into the volume
#   docker build -t blab:weights --target with-weights --build-arg PROFILE=small .
#       the weights are in a layer of their own; the start needs no network

FROM debian:13-slim AS base
# libgomp1: threads of the engines. The account has a name because Postgres refuses to run without.
# The versions are Debian's latest of this release, for its security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 blab \
    && useradd --uid 10001 --gid blab --home-dir /var/lib/blab --shell /usr/sbin/nologin blab \
    && install -d -o blab -g blab -m 0700 /var/lib/blab \
    && install -d -o blab -g blab /opt/models
WORKDIR /opt/blab

# The packages of uv.lock, checked against its hashes, before the source: another commit reuses them.
FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY blab pyproject.toml uv.lock README.md LICENSE ./
# Stand-ins for the source, to which the installation links.
RUN mkdir gateway media pipelines rest sessions static store \
    && touch gateway/__init__.py media/__init__.py pipelines/__init__.py rest/__init__.py \
        sessions/__init__.py static/__init__.py store/__init__.py
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -c "import runpy; runpy.run_path('blab')['prepare']([])"

FROM base AS runtime
COPY --from=build /opt/blab/.venv /opt/blab/.venv
COPY . .
RUN .venv/bin/python -m compileall -q gateway media pipelines rest sessions store
ENV PATH=/opt/blab/.venv/bin:$PATH \
    BLAB_HOST=0.0.0.0 \
    BLAB_DATA_DIR=/var/lib/blab
USER 10001:10001
WORKDIR /var/lib/blab
VOLUME /var/lib/blab
EXPOSE 8484/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/healthz' % os.environ.get('BLAB_PORT', 8484), timeout=2)"]
ENTRYPOINT ["blab"]
CMD ["serve"]

FROM runtime AS weights
ARG PROFILE=standard
RUN BLAB_MODELS_DIR=/opt/models BLAB_PROFILE=$PROFILE blab models fetch

FROM runtime AS with-weights
ARG PROFILE=standard
COPY --from=weights --chown=10001:10001 /opt/models /opt/models
ENV BLAB_MODELS_DIR=/opt/models \
    BLAB_PROFILE=$PROFILE

FROM runtime AS blab
