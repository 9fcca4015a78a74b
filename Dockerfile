# The gateway. Its sandboxes are containers of their own, of another image (sandbox_image/Dockerfile), on the engine it is
# given. The default base is the official image of Docker Hub, https://hub.docker.com/_/python; any image with a
# Python >= 3.11 as `python`, with pip, will do. Plain enough for the legacy builder as well as BuildKit.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

WORKDIR /opt/eager
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY sandbox_image sandbox_image
COPY loadtests loadtests
RUN python -m pip install --no-cache-dir --no-deps . \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent eager \
    && install -d -o eager /data

# Nothing is kept beyond the container unless EAGER_DATA_DIR names a volume; one that is mounted on /data is the user's.
ENV EAGER_SANDBOX=docker PYTHONUNBUFFERED=1
USER eager
WORKDIR /tmp
EXPOSE 8000
# The port is the one of the default command; a service with another one has a health check of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Last: another revision builds nothing anew.
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="Eager gateway" \
    org.opencontainers.image.description="Runs an LLM's Python while the model is still writing it." \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["eager"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
