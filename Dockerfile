# syntax=docker/dockerfile:1
# Build: the dependencies' layer is kept as long as Cargo.lock stays the same.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package tickcast && cp target/release/tickcast /usr/local/bin/tickcast

# Run: glibc, CA certificates and the binary; no shell is needed, no root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/tickcast /usr/local/bin/tickcast
COPY config/production.toml /etc/tickcast/production.toml
ENV TICKCAST_CONFIG=/etc/tickcast/production.toml
EXPOSE 8081 8082
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/tickcast", "healthcheck", "--allow-degraded"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tickcast"]
CMD ["serve"]
