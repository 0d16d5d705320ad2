# pgops with the client tools of PostgreSQL, to migrate from a Job or an init container (docs/kubernetes.md).
#
#   python -m build && docker build --tag pgops .
#
# Wheels in dist/ are preferred to the package index; with PIP_NO_INDEX=1 nothing else is asked.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS system
RUN { python3 -c 'import ensurepip' && command -v pg_dump; } >/dev/null 2>&1 || { \
    apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv postgresql-client && \
    rm -rf /var/lib/apt/lists/*; }

FROM system AS build
ARG PIP_NO_INDEX=
COPY dist/ /dist/
RUN python3 -m venv /opt/pgops && \
    /opt/pgops/bin/pip install --no-cache-dir --find-links=/dist pgops && \
    /opt/pgops/bin/python -m compileall -q /opt/pgops

FROM system
COPY --from=build /opt/pgops /opt/pgops
ENV PATH=/opt/pgops/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
RUN useradd --uid 10001 --no-create-home --home-dir /tmp pgops
WORKDIR /project
USER 10001
ENTRYPOINT ["pgops"]
CMD ["--list"]
