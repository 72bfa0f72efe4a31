# syntax=docker/dockerfile:1
# Two stages: build the environment from the lock file, then copy only that. Runs as a fixed non-root user on a
# read-only root file system; the one writable place is the volume /state (and an emptyDir on /tmp, if wanted).
# `make image` looks up the digest of the base and builds on that: --build-arg PYTHON_BASE=python:3.12-slim@sha256:...
ARG PYTHON_BASE=python:3.12-slim
FROM ${PYTHON_BASE} AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/remediator
RUN printf '%s ' uv==0.13.9 \
        --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 \
        --hash=sha256:5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe > /uv.txt \
    && pip install --no-cache-dir --require-hashes -r /uv.txt
WORKDIR /src
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-default-groups --extra otel --no-install-project
COPY app ./app
COPY remediations ./remediations
RUN uv sync --frozen --no-default-groups --extra otel --no-editable && rm -f "$UV_PROJECT_ENVIRONMENT/.lock"

FROM ${PYTHON_BASE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin remediator \
    && install -d -o 10001 -g 10001 -m 0700 /state \
    && python -m pip uninstall --yes --quiet pip
COPY --from=build /opt/remediator /opt/remediator
COPY policies /policies
ENV PATH=/opt/remediator/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    REMEDIATOR_STATE_DIR=/state REMEDIATOR_POLICY_DIR=/policies REMEDIATOR_HOST=0.0.0.0
USER 10001:10001
VOLUME /state
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["remediator"]
CMD ["serve"]
