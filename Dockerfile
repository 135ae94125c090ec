# syntax=docker/dockerfile:1
# Targets: bucketseal (the default), minio and setup, for docker-compose.yml.

FROM golang:1.26-alpine AS build
RUN apk add --no-cache ca-certificates
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o /out/bucketseal ./cmd/bucketseal
# A named volume takes over owner and mode of the directory it is mounted on. Some builders keep the
# mode of what is in a copied directory only, not its own.
RUN install -d -m 0700 -o 65532 -g 65532 /out/lib/bucketseal

# MinIO gives no images away any more; it is built from source, at the version that the tests use.
FROM golang:1.26-alpine AS build-minio
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags='-s -w' github.com/minio/minio@${MINIO_VERSION} \
	&& install -d -m 0700 -o 65532 -g 65532 /out/volumes/data

FROM alpine:3.22 AS minio
COPY --from=build-minio /out/minio /usr/local/bin/minio
COPY --from=build-minio --chown=65532:65532 /out/volumes /
USER 65532:65532
EXPOSE 9000
VOLUME /data
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
	CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/live"]
ENTRYPOINT ["/usr/local/bin/minio"]
CMD ["server", "--quiet", "--address", ":9000", "/data"]

# mc, which makes MinIO's users: a program that the setup runs, in an image of its own.
FROM golang:1.26-alpine AS build-mc
ARG MC_VERSION=v0.0.0-20251106162529-77f82e18b540
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags='-s -w' github.com/minio/mc@${MC_VERSION}

FROM alpine:3.22 AS setup
COPY --from=build-mc /out/mc /usr/local/bin/mc
ENV MC_CONFIG_DIR=/tmp/mc
USER 65532:65532
ENTRYPOINT ["/bin/sh"]

FROM scratch AS bucketseal
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bucketseal /bucketseal
COPY --from=build --chown=65532:65532 /out/lib /var/lib
USER 65532:65532
EXPOSE 8080
VOLUME /var/lib/bucketseal
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
	CMD ["/bucketseal", "health", "--address", "127.0.0.1:8080"]
ENTRYPOINT ["/bucketseal"]
CMD ["server", "--address", ":8080", "--upstream", "http://minio:9000", "--data-dir", "/var/lib/bucketseal"]
