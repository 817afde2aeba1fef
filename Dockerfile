# A container that trains and serves, on SageMaker and elsewhere. Build it from the repository root: docker build -t fusionzoo .
# For a GPU, add --build-arg BASE=pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime
ARG BASE=python:3.11-slim
FROM ${BASE}

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV FUSIONZOO_SERVE_HOST=0.0.0.0
WORKDIR /opt/fusionzoo
COPY constraints.txt ./
RUN python -m pip install -c constraints.txt torch
COPY core core
COPY plugins plugins
RUN python -m pip install -c constraints.txt './core[train,serve]' ./plugins/* && fusionzoo doctor
COPY train.py inference.py evaluate.py preprocess.py train_xgboost.py ./

# SageMaker starts the image with the argument `train`, which does the same as train.py, or `serve`.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
ENTRYPOINT ["fusionzoo"]
CMD ["train"]
