ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /srv/doorward
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY requirements requirements
# Only wheels, so that no package runs code while it is installed.
RUN python3 -m venv /srv/venv \
    && /srv/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-compile --only-binary :all: \
        --require-hashes --requirement requirements/run.txt
COPY app app
# Argon2 a second time, for processors with AVX2. The service chooses at start.
COPY scripts/build_argon2.py scripts/build_argon2.py
RUN /srv/venv/bin/python -m scripts.build_argon2 \
    && /srv/venv/bin/python -m pip uninstall --quiet --yes pip setuptools
COPY migrations migrations
# Bytecode without timestamp checks, because copies between layers can change file times.
RUN /srv/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /srv/venv/lib app migrations

FROM python:${PYTHON}
# Images are for production, so unsafe settings are rejected unless you override DOORWARD_ENV.
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DOORWARD_ENV=production
WORKDIR /srv/doorward
COPY --from=build /srv/venv /srv/venv
COPY --from=build /srv/doorward/app app
COPY --from=build /srv/doorward/migrations migrations
# A new volume inherits its owner from the image: var/ for SQLite, /run/doorward for secrets.
RUN install -d -m 0700 -o 10001 -g 10001 var && install -d -m 0755 -o 10001 -g 10001 /run/doorward
# A number, so that an orchestrator can verify that it is not root.
USER 10001:10001
EXPOSE 8080
# The probe ignores proxies of the environment.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["python", "-m", "app", "serve", "--bind", "0.0.0.0:8080", "--migrate"]
