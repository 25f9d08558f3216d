# syntax=docker/dockerfile:1
# One binary in a small image: `docker build -t nuncio .`, then `docker run nuncio api`.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep downloads and built packages from one build to the next; the binary has to leave them to stay.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package nuncio \
    && cp target/release/nuncio /usr/local/bin/nuncio

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin nuncio
COPY --from=build /usr/local/bin/nuncio /usr/local/bin/nuncio
USER nuncio
# Inside a container, 127.0.0.1 would be reachable by nobody.
ENV NUNCIO_LISTEN=0.0.0.0:8080 \
    NUNCIO_OPS_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
# SIGTERM drains for up to 20 s (NUNCIO_DRAIN_SECONDS): give `docker stop` more than its 10.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:9090/health/live"]
ENTRYPOINT ["nuncio"]
CMD ["all"]
