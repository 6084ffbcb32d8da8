# syntax=docker/dockerfile:1
# The CPU image. Both bases can come from a mirror; the second needs glibc 2.36 and libstdc++.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# What a build needs beside Rust, as script/bootstrap has it, without sound devices.
FROM ${RUST_IMAGE} AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make pkg-config libclang-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies alone, so that a change in src/ compiles neither whisper.cpp nor candle anew.
FROM tools AS dependencies
COPY Cargo.toml Cargo.lock rustfmt.toml clippy.toml ./
COPY .cargo .cargo
COPY cmake cmake
RUN mkdir src benches \
    && echo 'fn main() {}' | tee src/main.rs benches/queue.rs benches/translate.rs >/dev/null \
    && touch src/lib.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --no-default-features

FROM dependencies AS build
COPY . .
# Newer than what the stage before has compiled of them.
RUN touch src/main.rs src/lib.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --no-default-features

FROM ${RUNTIME_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Mega Pipeline" \
      org.opencontainers.image.description="Speak a prompt; hear it continued in English and in another language" \
      org.opencontainers.image.licenses="GPL-3.0-or-later"
# Weights are fetched over HTTPS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /data mega \
    && install -d -o mega -g mega /data /models
COPY --from=build /build/target/release/mega-pipeline /usr/local/bin/mega-pipeline
ENV MEGA_DATA_DIR=/data \
    MEGA_MODELS_DIR=/models \
    MEGA_LISTEN=0.0.0.0:8080
USER mega
VOLUME ["/data", "/models"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["mega-pipeline", "health"]
ENTRYPOINT ["mega-pipeline"]
CMD ["serve"]
