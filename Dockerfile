# syntax=docker/dockerfile:1
# Two images: without a GPU (the last stage), and for NVIDIA GPUs (--target cuda), whose program
# does not start where CUDA is missing. Both bases can come from a mirror; the second gives its
# glibc and libstdc++, and must not be older than the first.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# What a build needs beside Rust, as script/bootstrap has it, without sound devices.
FROM ${RUST_IMAGE} AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make pkg-config libclang-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# What the dependencies are compiled of, with nothing in place of the program.
FROM tools AS manifests
COPY Cargo.toml Cargo.lock build.rs rustfmt.toml clippy.toml ./
COPY .cargo .cargo
COPY cmake cmake
RUN mkdir src benches \
    && echo 'fn main() {}' \
        | tee src/main.rs benches/pages.rs benches/parts.rs benches/queue.rs benches/translate.rs >/dev/null \
    && touch src/lib.rs

# The dependencies alone, so that a change in src/ compiles neither whisper.cpp nor candle anew.
FROM manifests AS dependencies
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --no-default-features

FROM dependencies AS build
ARG MEGA_COMMIT=unknown
COPY . .
# Newer than what the stage before has compiled of them.
RUN touch src/main.rs src/lib.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --no-default-features

# The dependencies for NVIDIA GPUs, compiled without one; CUDA's compiler and libraries come from
# PyPI.
FROM manifests AS cuda-dependencies
ARG CUDA_COMPUTE_CAP=80
COPY script/bootstrap script/build-cuda script/lib.sh script/
RUN install -D /dev/null src/engine/llm/transformer/gpu.cu
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    script/build-cuda --no-default-features

FROM cuda-dependencies AS cuda-build
# Named again, because not every builder inherits it.
ARG CUDA_COMPUTE_CAP=80
ARG MEGA_COMMIT=unknown
COPY . .
RUN touch src/main.rs src/lib.rs src/engine/llm/transformer/gpu.cu
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    script/build-cuda --no-default-features
RUN set -eu; \
    mkdir /cuda; \
    cp target/cuda/release/mega-pipeline deploy/cuda-launcher /cuda/; \
    libraries=$HOME/.cache/mega-pipeline/cuda-13.0/nvidia/cu13/lib; \
    LD_LIBRARY_PATH=$libraries ldd /cuda/mega-pipeline | grep -o "$libraries/[^ ]*" \
        | while read -r library; do cp -L "$library" /cuda/; done; \
    ls /cuda/libcublas.so.*

# A shell and ldd for the launcher; the driver's own library is put in when a container starts.
FROM ${RUNTIME_IMAGE} AS cuda
ARG MEGA_VERSION=unknown
ARG MEGA_COMMIT=unknown
LABEL org.opencontainers.image.title="Mega Pipeline for NVIDIA GPUs" \
      org.opencontainers.image.description="Speak a prompt; hear it continued in English and in another language" \
      org.opencontainers.image.version="${MEGA_VERSION}" \
      org.opencontainers.image.revision="${MEGA_COMMIT}" \
      org.opencontainers.image.licenses="GPL-3.0-or-later"
COPY --from=cuda-build /cuda /usr/local/lib/mega-pipeline
RUN useradd --uid 10001 --home-dir /data --no-create-home mega \
    && install -d -m 0700 -o mega -g mega /data \
    && install -d -o mega -g mega /models \
    && ln -s ../lib/mega-pipeline/cuda-launcher /usr/local/bin/mega-pipeline
ENV LD_LIBRARY_PATH=/usr/local/lib/mega-pipeline \
    MEGA_DATA_DIR=/data \
    MEGA_MODELS_DIR=/models \
    MEGA_LISTEN=0.0.0.0:8080 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
VOLUME ["/data", "/models"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["mega-pipeline", "health"]
ENTRYPOINT ["mega-pipeline"]
CMD ["serve"]

# All that the image holds: the program, the libraries that it and ONNX Runtime, which comes with
# the weights, are linked to, two folders, a user.
FROM ${RUNTIME_IMAGE} AS assembled
COPY --from=build /build/target/release/mega-pipeline /usr/local/bin/mega-pipeline
RUN set -eu; \
    install -d /image/etc /image/usr/local/bin; \
    install -d -m 1777 /image/tmp; \
    install -d -m 0700 -o 10001 -g 10001 /image/data; \
    install -d -o 10001 -g 10001 /image/models; \
    echo 'mega:x:10001:10001::/data:/' >/image/etc/passwd; \
    cp /usr/local/bin/mega-pipeline /image/usr/local/bin/; \
    ldd /usr/local/bin/mega-pipeline | grep -o '/[^ ]*' | sort -u >/libraries; \
    libc=$(dirname "$(grep '/libc[.]so' /libraries)"); \
    for name in libdl.so.2 libpthread.so.0 librt.so.1; do echo "$libc/$name"; done >>/libraries; \
    while read -r library; do cp -L --parents "$library" /image; done </libraries

FROM scratch AS runtime
ARG MEGA_VERSION=unknown
ARG MEGA_COMMIT=unknown
LABEL org.opencontainers.image.title="Mega Pipeline" \
      org.opencontainers.image.description="Speak a prompt; hear it continued in English and in another language" \
      org.opencontainers.image.version="${MEGA_VERSION}" \
      org.opencontainers.image.revision="${MEGA_COMMIT}" \
      org.opencontainers.image.licenses="GPL-3.0-or-later"
COPY --from=assembled /image /
ENV MEGA_DATA_DIR=/data \
    MEGA_MODELS_DIR=/models \
    MEGA_LISTEN=0.0.0.0:8080 \
    PATH=/usr/local/bin
# A number, so that an orchestrator can see that it is not root.
USER 10001
VOLUME ["/data", "/models"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["mega-pipeline", "health"]
ENTRYPOINT ["mega-pipeline"]
CMD ["serve"]
