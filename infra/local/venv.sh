# Sourced with the project's root as the working folder: makes .venv hold what a requirements file lists.
# usage: make_venv requirements.txt

make_venv() {
  local requirements=$1 python=${PYTHON:-python3} stamp wanted
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Python 3.11 or newer is needed: install it, or name it in PYTHON" >&2
    return 1
  fi
  wanted=$(cat requirements.txt "$requirements" | cksum)
  stamp=.venv/$(basename "$(dirname "$PWD/$requirements")")-requirements.stamp
  mkdir -p .venv
  exec 9>.venv/.lock
  flock 9
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $requirements into .venv" >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements" 2> >(grep -v '^WARNING: Location' >&2)
    echo "$wanted" >"$stamp"
  fi
  flock -u 9
  exec 9>&-
}
