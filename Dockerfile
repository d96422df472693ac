# syntax=docker/dockerfile:1

# The toolchain of rust-toolchain.toml, without the components that only development needs. SQLite, zstd, AWS-LC and
# jemalloc are built from source by the C compiler that comes with it, and by make.
FROM rust:1.95.0-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src

# First the dependencies alone: this layer stays until Cargo.toml or Cargo.lock changes. An allocator for ARM has to fit
# kernels with pages of up to 64 KiB.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it benches \
    && for target in src/main tests/it/main $(sed -n '/^\[\[bench\]\]/{n;s|name = "\(.*\)"|benches/\1|p}' Cargo.toml); do \
        echo 'fn main() {}' >"$target.rs"; \
    done \
    && touch src/lib.rs \
    && if [ "$(uname -m)" = aarch64 ]; then \
        mkdir .cargo && printf '[env]\nJEMALLOC_SYS_WITH_LG_PAGE = "16"\n' >.cargo/config.toml; \
    fi \
    && cargo build --release --locked

COPY src src
COPY config config
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin shipgate

FROM debian:12-slim
RUN groupadd --system --gid 10001 shipgate \
    && useradd --system --uid 10001 --gid shipgate --home-dir /data --no-create-home shipgate \
    && install --directory --owner shipgate --group shipgate --mode 0750 /data
COPY --from=build /src/target/release/shipgate /usr/local/bin/shipgate
# The authorities that a gateway knows control planes by, unless it is told of a private one.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

# In a container the planes are reached from outside of it; what is published is for whoever runs it to say. Metrics and
# health are asked from within.
ENV SHIPGATE__DATA_DIR=/data \
    SHIPGATE__GATEWAY__HTTP=0.0.0.0:8070 \
    SHIPGATE__CONTROL__HTTP=0.0.0.0:8072 \
    SHIPGATE__OPS__HTTP=0.0.0.0:8073
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
# Ingest, ingest over TLS, the control plane's API, metrics and health, the API over TLS. `docker run shipgate control` and
# `docker run shipgate gateway` run one plane alone.
EXPOSE 8070 8071 8072 8073 8074
# SIGTERM drains: requests are finished and everything is on disk before it exits.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["shipgate", "healthcheck"]
ENTRYPOINT ["shipgate"]
