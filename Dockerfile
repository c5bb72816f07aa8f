# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
# Everything is checked against the lock's hashes here, and what comes as source is built; the image then gets only what
# the gateway itself needs of it.
RUN python -m pip wheel --quiet --no-deps --require-hashes --requirement requirements.lock --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
COPY policies ./policies
COPY blocklists ./blocklists
RUN python -m venv /opt/tidegate \
    && /opt/tidegate/bin/python -m pip install --quiet --no-index --find-links /wheels .

FROM python:3.11-slim-bookworm
# What looks into archives, and what tells file types. Not pinned: Debian's stable release takes security fixes only.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libarchive13 libmagic1 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 990 tidegate \
    && useradd --system --uid 990 --gid 990 --home-dir /var/lib/tidegate --no-create-home --shell /usr/sbin/nologin tidegate \
    && install --directory --owner=990 --group=990 --mode=0750 /var/lib/tidegate
COPY --from=build /opt/tidegate /opt/tidegate
COPY gateway/deploy/container /etc/tidegate
ENV PATH=/opt/tidegate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TIDEGATE_CONFIG=/etc/tidegate/tidegate.toml
# The only writable place: run with a read-only root file system.
VOLUME ["/var/lib/tidegate"]
WORKDIR /var/lib/tidegate
# A number: an orchestrator can then see that it is not root.
USER 990:990
EXPOSE 2525 9625
# SIGTERM drains: running transactions finish, nothing is cut.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["tidegate", "status"]
ENTRYPOINT ["tidegate"]
CMD ["serve"]
