# syntax=docker/dockerfile:1
# Build: the registry and the target folder are kept between builds, so only what changed is compiled.
FROM rust:1.95.0-slim-bookworm AS build
# rust-toolchain.toml asks for clippy and rustfmt as well, which a build does not need to download.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package tickcast && cp target/release/tickcast /usr/local/bin/tickcast

# Run: glibc, CA certificates and the binary; no shell, no root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/tickcast /usr/local/bin/tickcast
COPY config/production.toml /etc/tickcast/production.toml
ENV TICKCAST_CONFIG=/etc/tickcast/production.toml
# glibc then gives large buffers back when they are freed: docs/deploy.md, Memory.
ENV MALLOC_MMAP_THRESHOLD_=1048576
# The public port, the operators' port of a gateway, and that of a stand-alone publisher.
EXPOSE 8081 8082 8083
# Of a gateway or `serve`. For a publisher add `--role publisher` (compose.yaml does), or set HEALTH_PORT for both.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/tickcast", "healthcheck", "--allow-degraded"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tickcast"]
CMD ["serve"]
