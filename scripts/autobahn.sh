#!/usr/bin/env bash
# RFC 6455 conformance: Autobahn's fuzzing client against examples/echo.rs, which is the gateway's own accept path, shards and
# session I/O. Fails on any failed case, and on a fault that was not answered with a close code.
#
#   scripts/autobahn.sh lite                 sections 1–7 and 10; about a minute with a debug build
#   scripts/autobahn.sh all                  all 517 cases, with performance and compression (9, 12, 13): some 35 minutes
#   scripts/autobahn.sh '9.1.*' '13.3.*'     these cases
#
# PROFILE=release builds the echo server with optimisation. AUTOBAHN_TIMEOUT bounds the run (`all`: 5400 s, else 1800 s).
# The suite is Python 2: it is obtained once, into AUTOBAHN_HOME (~/.cache/autobahn), from Debian's previous release and
# PyPI, and touches nothing of the system. It takes a minute and 60 MB. With --obtain it only does that. Exit code 77: it cannot be obtained here.
set -euo pipefail
cd "$(dirname "$0")/.."

home=${AUTOBAHN_HOME:-$HOME/.cache/autobahn}
profile=${PROFILE:-debug}
target=${CARGO_TARGET_DIR:-target}

obtain() {
    local codename=bullseye keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    command -v apt-get >/dev/null && command -v dpkg >/dev/null && [ -e "$keyring" ] || return 1
    python3 -m pip --version >/dev/null 2>&1 || return 1
    rm -rf "$home"/{apt,debs,whl,root,env}
    mkdir -p "$home"/apt/{state/lists/partial,cache/archives/partial,etc} "$home"/{debs,whl}
    # The mirrors that this machine uses, one release back.
    local uris uri suite
    uris=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' |
        grep -oE 'https?://[^ ]+/debian(-security)?/?( |$)' | tr -d ' ' | sort -u)
    [ -n "$uris" ] || uris=https://deb.debian.org/debian
    for uri in $uris; do
        suite=$codename
        case $uri in *security*) suite=$codename-security ;; esac
        echo "deb [signed-by=$keyring] $uri $suite main"
    done >"$home/apt/sources.list"
    cat >"$home/apt/apt.conf" <<CONF
Dir::State "$home/apt/state";
Dir::State::status "$home/apt/state/status";
Dir::Cache "$home/apt/cache";
Dir::Etc::sourcelist "$home/apt/sources.list";
Dir::Etc::sourceparts "$home/apt/etc";
Dir::Etc::parts "$home/apt/etc";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
CONF
    touch "$home/apt/state/status"
    APT_CONFIG=$home/apt/apt.conf apt-get -qq update || return 1
    (cd "$home/debs" && APT_CONFIG=$home/apt/apt.conf apt-get -qq download python2.7 python2.7-minimal libpython2.7 \
        libpython2.7-minimal libpython2.7-stdlib libpython2.7-dev libssl1.1 libffi7) || return 1
    local deb
    for deb in "$home"/debs/*.deb; do dpkg -x "$deb" "$home/root"; done
    cat >"$home/python2" <<WRAP
#!/bin/sh
export LD_LIBRARY_PATH=$home/root/usr/lib/x86_64-linux-gnu PYTHONPATH=$home/env/lib/python2.7/site-packages PYTHONDONTWRITEBYTECODE=1
exec $home/root/usr/bin/python2.7 "\$@"
WRAP
    chmod +x "$home/python2"
    python3 -m pip download -q --no-deps -d "$home/whl" pip==20.3.4 setuptools==44.1.1 wheel==0.37.1 || return 1
    local pip="pip install -q --no-cache-dir --no-python-version-warning --prefix $home/env"
    # shellcheck disable=SC2086
    "$home/python2" "$home"/whl/pip-*.whl/$pip "$home"/whl/*.whl 2>/dev/null || return 1
    # The last releases that run on Python 2.7.
    # shellcheck disable=SC2086
    CPATH=$home/root/usr/include/python2.7 "$home/python2" -m $pip --no-deps \
        autobahntestsuite==25.10.1 autobahn==0.10.9 Twisted==20.3.0 zope.interface==5.5.2 txaio==2.1.0 six==1.16.0 \
        attrs==21.4.0 Automat==20.2.0 constantly==15.1.0 incremental==21.3.0 hyperlink==21.0.0 idna==2.10 typing==3.10.0.0 \
        PyHamcrest==1.10.1 Jinja2==2.11.3 MarkupSafe==1.1.1 klein==17.10.0 Werkzeug==1.0.1 cffi==1.15.1 pycparser==2.21 \
        cryptography==3.3.2 enum34==1.1.10 ipaddress==1.0.23 pyOpenSSL==21.0.0 service_identity==18.1.0 pyasn1==0.4.8 \
        pyasn1-modules==0.2.8 unittest2==1.1.0 argparse==1.4.0 traceback2==1.4.0 linecache2==1.0.0 2>/dev/null || return 1
    # A namespace package is not found through PYTHONPATH otherwise.
    touch "$home/env/lib/python2.7/site-packages/zope/__init__.py"
    printf '#!/bin/sh\nexec %s/python2 %s/env/bin/wstest "$@"\n' "$home" "$home" >"$home/wstest"
    chmod +x "$home/wstest"
    "$home/wstest" -a >/dev/null
}

if [ ! -x "$home/wstest" ] && ! obtain; then
    echo "Autobahn cannot be obtained here: it needs apt-get with Debian's mirrors, python3 with pip, and the network" >&2
    exit 77
fi
[ "${1:-lite}" != --obtain ] || exit 0

bound=1800
case ${1:-lite} in
lite) cases=('1.*' '2.*' '3.*' '4.*' '5.*' '6.*' '7.*' '10.*') ;;
all) cases=('*') bound=5400 ;;
*) cases=("$@") ;;
esac

release=; [ "$profile" = debug ] || release=--release
# shellcheck disable=SC2086
cargo build --locked --quiet $release --example echo

work=$(mktemp -d)
echo=
trap '[ -z "$echo" ] || kill "$echo" 2>/dev/null || true; rm -rf "$work"' EXIT
"$target/$profile/examples/echo" 0 >"$work/echo" &
echo=$!
for _ in $(seq 300); do
    grep -q '^echo at' "$work/echo" && break
    sleep 0.1
done
url=$(sed -n 's/^echo at \(ws:[^;]*\);.*/\1/p' "$work/echo")
[ -n "$url" ] || { echo "the echo server did not start" >&2; exit 2; }

quoted=$(printf '"%s",' "${cases[@]}")
printf '{"outdir":"%s/report","servers":[{"agent":"tickcast","url":"%s"}],"cases":[%s],"exclude-cases":[],"exclude-agent-cases":{}}' \
    "$work" "$url" "${quoted%,}" >"$work/spec.json"
timeout "${AUTOBAHN_TIMEOUT:-$bound}" "$home/wstest" -m fuzzingclient -s "$work/spec.json" >"$work/log" 2>&1 || true
[ -e "$work/report/index.json" ] || { tail -5 "$work/log" >&2; echo "Autobahn did not finish" >&2; exit 2; }

python3 - "$work/report/index.json" <<'SUMMARY'
import collections, json, sys

cases = json.load(open(sys.argv[1]))["tickcast"]
section = lambda name: [int(part) for part in name.split(".")]
bad = ("FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT")
failed = [name for name, case in cases.items() if case["behavior"] in bad or case["behaviorClose"] in bad]
# In 7.3.1 the client closes without a code, and gets back what it sent.
silent = [name for name, case in cases.items() if name != "7.3.1"
          and case["behavior"] not in ("UNIMPLEMENTED", "INFORMATIONAL") and case["remoteCloseCode"] is None]
counts = collections.defaultdict(collections.Counter)
for name, case in cases.items():
    counts[section(name)[0]][case["behavior"]] += 1
for number, behaviours in sorted(counts.items()):
    print("section %2d: %s" % (number, ", ".join("%d %s" % (n, what) for what, n in sorted(behaviours.items()))))
total = collections.Counter(case["behavior"] for case in cases.values())
print("%d cases: %s" % (len(cases), ", ".join("%d %s" % (n, what) for what, n in sorted(total.items()))))
print("failed: %s" % (" ".join(sorted(failed, key=section)) or "none"))
print("without a close code: %s" % (" ".join(sorted(silent, key=section)) or "none"))
sys.exit(bool(failed or silent) or not cases)
SUMMARY
