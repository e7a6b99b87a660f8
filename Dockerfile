# The quickstart, the demo and every command, in a container that needs no network:
#
#   docker build -t ghostnet-small .
#   docker run ghostnet-small                                  the quickstart
#   docker run -p 8000:8000 ghostnet-small demo                the demo: http://localhost:8000
#
# Any other command, on the files of the current folder:
#
#   docker run -v "$PWD:/data" -w /data --user "$(id -u)" -e HOME=/tmp \
#       --entrypoint ghostnet-small ghostnet-small predict ghostnetv3_small_w1.0_cifar10 IMAGES
#
# On x86 pip takes the PyTorch with CUDA, which is large. An index of CPU builds makes it smaller:
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... -t ghostnet-small .
FROM python:3.11-slim

# The C kernels and the exported C file are compiled where they run.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 user \
    && install --directory --owner=user --group=user /opt/ghostnet-small
USER user
WORKDIR /opt/ghostnet-small
COPY --chown=user:user . .

ARG PIP_EXTRA_INDEX_URL
# Installs the package into .venv, and fetches what the demo's page runs networks with.
RUN PIP_NO_CACHE_DIR=1 make demo-assets

ENV PATH="/opt/ghostnet-small/.venv/bin:$PATH" \
    DEMO="--host 0.0.0.0 --port 8000"
EXPOSE 8000
ENTRYPOINT ["make", "--no-print-directory"]
CMD ["quickstart"]
