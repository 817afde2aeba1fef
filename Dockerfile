# Images that train and serve models, on SageMaker and elsewhere. docs/deploy.md describes how to build and run them:
#   docker build --target train -t fusionzoo-train .      trains, and serves too
#   docker build --target serve -t fusionzoo-serve .      serves, without torch
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
ARG TRAIN_BASE=${BASE}


FROM ${BASE} AS wheels
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt ./
RUN python -m pip install --require-hashes --no-deps --only-binary :all: -r build.txt
COPY core core
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels/core ./core
COPY plugins plugins
WORKDIR /build/plugins
# The folders of plugins/ to install, separated by spaces.
ARG PLUGINS=*
RUN for plugin in ${PLUGINS}; do \
      python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels/plugins "./${plugin}" || exit 1; \
    done


FROM ${BASE} AS serve
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
ENV PYTHONUNBUFFERED=1 FUSIONZOO_SERVE_HOST=0.0.0.0
WORKDIR /opt/fusionzoo
COPY requirements/serve.txt ./
RUN python -m pip install --require-hashes --no-deps --only-binary :all: -r serve.txt
COPY --from=wheels /wheels/core wheels
RUN python -m pip install --no-index --no-deps wheels/*.whl && python -m pip check && fusionzoo doctor
COPY inference.py ./

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fusionzoo-serve" \
      org.opencontainers.image.description="Serves models over text and tabular data" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; e = os.environ.get; r.urlopen('http://127.0.0.1:' + (e('FUSIONZOO_SERVE_PORT') or e('SAGEMAKER_BIND_TO_PORT') or '8080') + '/ping', timeout=4)"]
# SageMaker runs every container as root, and documents that other users cannot use what it mounts.
ARG RUN_AS=root
USER ${RUN_AS}
ENTRYPOINT ["fusionzoo"]
CMD ["serve"]


FROM ${TRAIN_BASE} AS train
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
ENV PYTHONUNBUFFERED=1 FUSIONZOO_SERVE_HOST=0.0.0.0
WORKDIR /opt/fusionzoo
# The index of the CPU build of torch. A TRAIN_BASE that contains this version of torch, such as a CUDA build, keeps it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/train.txt constraints.txt ./
RUN python -m pip install --require-hashes --no-deps --only-binary :all: --extra-index-url "${TORCH_INDEX}" -r train.txt
COPY --from=wheels /wheels wheels
# Plugins of other authors: requirements for pip, separated by spaces.
ARG EXTRA_PLUGINS=""
RUN python -m pip install --no-index --no-deps wheels/*/*.whl && \
    for plugin in ${EXTRA_PLUGINS}; do python -m pip install -c constraints.txt "${plugin}" || exit 1; done && \
    python -m pip check && fusionzoo doctor
COPY *.py ./

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fusionzoo-train" \
      org.opencontainers.image.description="Trains and serves models over text and tabular data" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
EXPOSE 8080
ENTRYPOINT ["fusionzoo"]
CMD ["train"]
