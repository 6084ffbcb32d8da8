#!/bin/sh
# Stands in for npm and for `python3 -m pip`: fetches packages from the folder it
# is linked into, writes what it was asked to "log", and fails as they would.
set -eu
registry=$(dirname "$0")
echo "$*" >> "$registry/log"
if [ -e "$registry/offline" ]; then
  echo "npm error code ECONNREFUSED" >&2
  exit 1
fi
[ "$1" = -m ] && shift 2
case $1 in
  view | index) exit 0 ;;
esac
name=${2%%==*}
name=${name%@*}
while [ $# -gt 1 ]; do
  case $1 in
    --pack-destination | --dest) to=$2 ;;
  esac
  shift
done
for package in "$registry/$name".tgz "$registry/$name".whl; do
  [ -e "$package" ] && exec cp "$package" "$to"
done
echo "npm error 404 Not Found - $name" >&2
exit 1
