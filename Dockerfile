# anon with the packages of constraints.txt, on a CPU.
#   docker build -t anon .
#   docker run --rm -v "$PWD:/work" anon anonymize input=photo.jpg output=anonymous.jpg
#   docker run --rm -v "$PWD:/work" anon evaluate experiment=fiva checkpoint=shipped:fiva
# With GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130, and docker run --gpus all --shm-size=8g ...
FROM python:3.11-slim

# of opencv-python
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/anon
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY anon ./anon
COPY conf ./conf
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --extra-index-url ${TORCH_INDEX} -c constraints.txt ".[detector,store,tensorboard]"

RUN useradd --create-home anon
USER anon
WORKDIR /work
ENTRYPOINT ["anon"]
CMD ["--help"]
