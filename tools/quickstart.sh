#!/usr/bin/env bash
# tools/quickstart.sh, behind tools/quickstart: sets up, builds and runs //tools:quickstart. See --help.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
here=$PWD
setup=() data='' recipe='' device='' args=() config=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      cat <<'E'
usage: tools/quickstart [--no-install] [--data DIR] [--out DIR] [--set KEY=VALUE] [--device WORD]
                        [--quiet]

Installs what is missing (tools/setup), builds Halftone, and trains a first quantized
network on handwritten digits.

  --no-install   install nothing; stop and say what is missing
  --data DIR     the folder with the four MNIST files (plain or .gz)
  --out DIR      where results go (default: runs/quickstart-1, -2, ...)
  --recipe FILE  another recipe
  --set KEY=VALUE  change one value of the recipe, as in --set epochs=2 (repeatable)
  --device WORD  cpu (the default), cuda, or auto: a GPU where there is one. These two build with
                 --config=cuda, auto only where nvcc is: some minutes more
  --quiet        no progress bar

Without --data, MNIST is looked for in $HALFTONE_DATA/mnist, then in
${XDG_CACHE_HOME:-~/.cache}/halftone/mnist; if it is in neither, tools/get_data tries to
download it there (11 MB). Without a network, digits drawn by the program itself are used.
E
      exit 0
      ;;
    --no-install) setup=(--no-install) ;;
    --data) [ $# -ge 2 ] || { echo "quickstart: --data needs a folder; try --help" >&2; exit 2; }
      data=$2
      shift
      ;;
    --data=*) data=${1#--data=} ;;
    --recipe) [ $# -ge 2 ] || { echo "quickstart: --recipe needs a file; try --help" >&2; exit 2; }
      recipe=$2
      shift
      ;;
    --recipe=*) recipe=${1#--recipe=} ;;
    --device=*) device=${1#--device=} ;;
    --out | --set | --device)
      [ $# -ge 2 ] || { echo "quickstart: $1 needs a value; try --help" >&2; exit 2; }
      if [ "$1" = --device ]; then device=$2; else args+=("$1" "$2"); fi
      shift
      ;;
    --out=* | --set=* | --quiet) args+=("$1") ;;
    *) echo "quickstart: unknown option $1; try --help" >&2; exit 2 ;;
  esac
  shift
done

"$root/tools/setup" ${setup[@]+"${setup[@]}"}
case $device in
  '' | cpu) ;;
  auto) [ ! -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] || config=(--config=cuda) ;;
  *) config=(--config=cuda) ;;
esac
[ -z "$device" ] || args+=(--device "$device")
(cd "$root" && bazel build ${config[@]+"${config[@]}"} //tools:quickstart)

has_mnist() {
  local f
  for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
    [ -f "$1/$f-ubyte" ] || [ -f "$1/$f-ubyte.gz" ] || [ -f "$1/${f/-idx/.idx}-ubyte" ] ||
      [ -f "$1/${f/-idx/.idx}-ubyte.gz" ] || return 1
  done
}

if [ -z "$data" ]; then
  cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/halftone/mnist
  if [ -n "${HALFTONE_DATA:-}" ] && has_mnist "$HALFTONE_DATA/mnist"; then
    data=$HALFTONE_DATA/mnist
  elif has_mnist "$cache" || "$root/tools/get_data" mnist "$cache" --timeout 5 --tries 2 >&2; then
    data=$cache
  fi  # else the program uses its own digits, and says so
fi

cd "$here"
exec "$root/bazel-bin/tools/quickstart" --recipe "${recipe:-$root/examples/recipes/quickstart.yaml}" ${data:+--data "$data"} ${args[@]+"${args[@]}"}
