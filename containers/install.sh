#!/bin/sh
# The packages of an image, into a new virtual environment: containers/install.sh serving|pipeline FOLDER
# Run in the root of the repository, by the Containerfile and by the tests. Needs uv; UV names another one.
set -eu
kind=$1
folder=$2
uv=${UV:-uv}
# uv does not read pip's settings: hand it pip's folder of local wheels where there is one.
links=${PIP_FIND_LINKS:+--find-links $PIP_FIND_LINKS}

"$uv" venv --quiet --python "${PYTHON:-python3}" "$folder"
case $kind in
serving)
  # No torch, no transformers, nothing that is not in the lock with its hash; then this project itself, and nothing more.
  # Editable, because the wheel has no serving/ (ADR 0057); compiled here, because the file system of the image is read-only.
  "$uv" pip install --quiet --python "$folder/bin/python" --require-hashes $links -r locks/serve.txt
  "$uv" pip install --quiet --python "$folder/bin/python" --no-deps --editable .
  "$folder/bin/python" -m compileall -q polytask serving
  ;;
pipeline)
  # Editable: the wheel has no components/ and pipelines/.
  if [ -n "$links" ]; then
    # Local builds, such as torch without CUDA, have other hashes than the index: versions alone are locked here.
    "$uv" pip install --quiet --python "$folder/bin/python" --constraint locks/all.txt $links \
      --editable ".[train,pipelines,serve,${ACCELERATOR:-cpu}]"
  else
    "$uv" pip install --quiet --python "$folder/bin/python" --require-hashes -r "locks/pipeline-${ACCELERATOR:-cpu}.txt"
    "$uv" pip install --quiet --python "$folder/bin/python" --no-deps --editable .
  fi
  ;;
*)
  echo "$0: '$kind'; allowed: serving, pipeline" >&2
  exit 2
  ;;
esac
