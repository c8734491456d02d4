# The static binary alone on `scratch`, not as root: no shell, no libraries, no package to patch.
#
#   docker build -t remora .                                  compiles it
#   docker build -t remora --target local -f Dockerfile DIR   takes DIR/remora, which is built already

# First, because the older of Docker's builders builds every stage above the one it is asked for.
FROM scratch AS local
COPY remora /remora
# An empty directory, so that a new volume mounted there belongs to the user.
COPY --chown=65534:65534 data /var/lib/remora
USER 65534:65534
# HTTP (Consul's API, status), etcd's API, DNS, other agents
EXPOSE 8500 2379 8600/udp 8600/tcp 8300
ENTRYPOINT ["/remora"]
CMD ["agent", "-c", "/etc/remora.yaml"]

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked \
    && mkdir -p /image/data \
    && cp target/*/release/remora /image/remora

FROM scratch
COPY --from=build /image/remora /remora
COPY --from=build --chown=65534:65534 /image/data /var/lib/remora
USER 65534:65534
EXPOSE 8500 2379 8600/udp 8600/tcp 8300
ENTRYPOINT ["/remora"]
CMD ["agent", "-c", "/etc/remora.yaml"]
