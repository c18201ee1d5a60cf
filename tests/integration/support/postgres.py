"""Starts a private PostgreSQL server for one test and removes every trace of it afterwards.

    with PostgresServer() as server:
        server.psql("CREATE TABLE t (id int PRIMARY KEY)")
        rows = server.query("SELECT id FROM t")

The server runs as an unprivileged user when the caller is root (PostgreSQL refuses root), keeps its files in a
temporary folder, listens on a Unix socket there and on 127.0.0.1 with a port of its own, and trusts every local
connection. A watchdog process stops it and removes the folder even when the caller is killed.

The newest server found is used; DPONE_POSTGRES_BINDIR names the folder of another one's programs (which the unprivileged
user must be able to read), as `make test-postgres-versions` does. Client programs that are not there are taken from the
newest installation that has them.

initdb is run once for each build folder (DPONE_BUILD_DIR): what it made is copied for each server, under a system identifier of
its own. Without that folder each server has its own initdb.

Only the standard library is used. A missing program raises PostgresError with the name of the Debian package that holds it.
Nothing is skipped on the server of Debian 12; what another version lacks is skipped by `since`, `require_plugin` and
`require_client`.
"""

import csv
import functools
import glob
import hashlib
import io
import os
import pwd
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from support.ports import ReservedPort

OUTPUT_PLUGINS = "pgoutput,test_decoding,wal2json"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
csv.field_size_limit(1 << 30)
_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_NULL = "\x1dNULL"

# Ends when its standard input does, that is when the process that holds the other end is gone for whatever reason.
_WATCHDOG = r"""
import os, shutil, signal, sys, time
base = sys.argv[1]
sys.stdin.buffer.read()
try:
    with open(os.path.join(base, "data", "postmaster.pid")) as file:
        pid = int(file.readline())
    os.kill(pid, signal.SIGQUIT)
    for _ in range(300):
        os.kill(pid, 0)
        time.sleep(0.1)
except (OSError, ValueError):
    pass
shutil.rmtree(base, ignore_errors=True)
"""


class PostgresError(Exception):
    """PostgreSQL is missing, did not start, or refused a statement."""


def _installed(program):
    """The folders under /usr/lib/postgresql that have the program, newest first."""
    found = [(int(re.search(r"/postgresql/(\d+)/", path).group(1)), os.path.dirname(path))
             for path in glob.glob(f"/usr/lib/postgresql/[0-9]*/bin/{program}") if os.access(path, os.X_OK)]
    return [folder for _, folder in sorted(found, reverse=True)]


def find_bindir():
    """The folder with the server programs to test with."""
    given = os.environ.get("DPONE_POSTGRES_BINDIR")
    if given:
        for program in ("initdb", "postgres"):
            if not os.access(os.path.join(given, program), os.X_OK):
                raise PostgresError(f"DPONE_POSTGRES_BINDIR: there is no program {program} in {given}")
        return given
    for folder in _installed("initdb"):
        if os.access(os.path.join(folder, "postgres"), os.X_OK):
            return folder
    if shutil.which("pg_config"):
        bindir = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        if os.access(os.path.join(bindir, "initdb"), os.X_OK):
            return bindir
    raise PostgresError("no PostgreSQL server programs under /usr/lib/postgresql/*/bin nor in `pg_config --bindir`: "
                        "install the Debian package postgresql (it brings postgresql-15 on Debian 12)")


def major_version():
    """Of the server to test with."""
    done = subprocess.run([os.path.join(find_bindir(), "postgres"), "--version"], capture_output=True, text=True, check=True)
    return int(re.search(r"PostgreSQL\) (\d+)", done.stdout).group(1))


def since(version, what):
    """Decorates a test of something that older servers do not have."""
    found = major_version()
    return unittest.skipIf(found < version, f"{what}: since PostgreSQL {version}, this is {found}")


def _crc32c(data):
    """As PostgreSQL computes it over its control file."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _give_identifier(data, identifier):
    """Another system identifier for a cluster that has never run. It stands in the control file, which ends in a checksum, and in
    the header of the log's first page. False when the files are not as expected; nothing has been written then."""
    control, segments = os.path.join(data, "global", "pg_control"), glob.glob(os.path.join(data, "pg_wal", "0*"))
    with open(control, "rb") as file:
        content = file.read(512)
    old = content[:8]
    size = next((at for at in range(200, 508, 4) if struct.unpack_from("=I", content, at)[0] == _crc32c(content[:at])), None)
    if size is None or len(segments) != 1:
        return False
    with open(segments[0], "rb") as file:
        if file.read(32)[24:] != old:
            return False
    new = struct.pack("=Q", identifier)
    _overwrite(segments[0], 24, new)
    _overwrite(control, 0, new)
    _overwrite(control, size, struct.pack("=I", _crc32c(new + content[8:size])))
    return True


@functools.cache
def _template():
    """Where this build folder keeps what initdb makes, or None."""
    build = os.environ.get("DPONE_BUILD_DIR")
    if not build or not os.path.isdir(build):
        return None
    bindir = find_bindir()
    version = subprocess.run([os.path.join(bindir, "postgres"), "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(f"{bindir} {os.path.getmtime(os.path.join(bindir, 'initdb'))} {os.geteuid()} ".encode() + version)
    return os.path.join(build, f"postgres-{key.hexdigest()[:16]}")


def _unprivileged_user():
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("running as root and neither the user postgres nor nobody exists: "
                        "PostgreSQL does not run as root")


class PostgresServer:
    """One cluster in a temporary folder. Not for use from several threads at once."""

    def __init__(self, fsync=False, settings=None, start=True):
        """fsync=True keeps the durability of a real server; settings are further lines of postgresql.conf.
        With start=False the cluster is made but not started."""
        self.bindir = find_bindir()
        self.base = None
        self._process = None
        self._watchdog = None
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self._make_base()
        try:
            self._make_cluster(fsync)
            self._configure(fsync, settings or {})
            if start:
                self.start()
        except BaseException:
            self.cleanup()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cleanup()

    def __del__(self):
        try:
            self.cleanup()
        except Exception:
            pass

    # Paths and versions

    @property
    def data(self):
        return os.path.join(self.base, "data")

    @property
    def socket_dir(self):
        return self.base

    @property
    def log_path(self):
        return os.path.join(self.base, "log")

    @property
    def pid(self):
        """The postmaster's process id, or None when it does not run."""
        return self._process.pid if self.running() else None

    def binary(self, name):
        """The path of one of PostgreSQL's programs, as in binary("pg_recvlogical")."""
        for folder in (self.bindir, *_installed(name)):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return path
        raise PostgresError(f"{name} is missing in {self.bindir}: install the Debian packages postgresql and postgresql-client")

    def require_client(self, name):
        """Skips the test when the program is older than the server, which it would refuse."""
        text = subprocess.run([self.binary(name), "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.search(r"\) (\d+)", text).group(1)) < self.major_version():
            raise unittest.SkipTest(f"{text.strip()} refuses servers of version {self.major_version()}")

    def version(self):
        """As in "PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"."""
        text = subprocess.run([self.binary("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
        return text.strip().replace("postgres (PostgreSQL)", "PostgreSQL")

    def major_version(self):
        return int(re.search(r"PostgreSQL (\d+)", self.version()).group(1))

    def has_plugin(self, name):
        libraries = [os.path.join(self.bindir, "..", "lib"), os.path.join(self.bindir, "..", "lib", "postgresql")]
        if os.access(os.path.join(self.bindir, "pg_config"), os.X_OK):
            libraries.append(subprocess.run([os.path.join(self.bindir, "pg_config"), "--pkglibdir"],
                                            capture_output=True, text=True, check=True).stdout.strip())
        return any(os.path.exists(os.path.join(folder, name + ".so")) for folder in libraries)

    def require_plugin(self, name):
        """Skips the test when a server that was named by hand lacks the output plugin."""
        if self.has_plugin(name):
            return
        if os.environ.get("DPONE_POSTGRES_BINDIR"):
            raise unittest.SkipTest(f"{self.bindir} has no output plugin {name}")
        raise PostgresError(f"the output plugin {name} is missing: install the Debian package "
                            f"postgresql-{self.major_version()}-{name}")

    # Life

    def running(self):
        return self._process is not None and self._process.poll() is None

    def start(self):
        """Starts the server and returns when it accepts connections. The port stays the same over restarts."""
        if self.running():
            return
        failure = self._try_start()
        if failure is not None:
            raise PostgresError(f"PostgreSQL did not start:\n{failure}")

    def stop(self, mode="fast"):
        """mode: "smart", "fast", or "immediate" (as a crash: the next start recovers)."""
        if not self.running():
            return
        self._process.send_signal(_STOP_SIGNALS[mode])
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STOP_TIMEOUT_S)
            raise PostgresError(f"PostgreSQL did not stop within {STOP_TIMEOUT_S} s of a {mode} stop") from None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def standby(self, settings=None):
        """A standby of this server, running and streaming; settings are further ones of its own."""
        other = PostgresServer(settings={**{name: value for name, value in self._settings.items()
                                            if name not in ("unix_socket_directories", "port")}, **(settings or {})}, start=False)
        try:
            self._copy_while_running(other)
            other._settings["primary_conninfo"] = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
            other._write_settings()
            other.start()
        except BaseException:
            other.cleanup()
            raise
        return other

    def _copy_while_running(self, other):
        """What pg_basebackup does, which refuses servers that are newer than itself."""
        begin, end = (("pg_start_backup('copy', true, false)", "pg_stop_backup(false, false)") if self.major_version() < 15 else
                      ("pg_backup_start('copy', true)", "pg_backup_stop(false)"))
        shutil.rmtree(other.data)
        # Files that go away meanwhile make cp complain, and are not missed.
        label = self.psql(f"SELECT {begin} \\g /dev/null\n\\! cp -a {self.data} {other.data} 2>/dev/null\n"
                          f"SELECT labelfile FROM {end}", ["-At"])
        for name in ("postmaster.pid", "postmaster.opts"):
            os.remove(os.path.join(other.data, name))
        for folder in glob.glob(os.path.join(other.data, "pg_replslot", "*")):
            shutil.rmtree(folder)
        other._write_file("backup_label", label)
        other._write_file("standby.signal", "")

    def start_alone(self):
        """A standby that does not find its primary any more."""
        self._settings["primary_conninfo"] = ""
        self._write_settings()
        self.start()

    def take_slot(self, other, name):
        """Copies the files of a stopped server's slot into this one, which is stopped, too."""
        target = os.path.join(self.data, "pg_replslot", name)
        shutil.copytree(os.path.join(other.data, "pg_replslot", name), target)
        if self._user is not None:
            for path in (target, *glob.glob(os.path.join(target, "*"))):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def cleanup(self):
        """Stops the server at once and removes its folder. May be called again."""
        if self._process is not None:
            self.stop("immediate")
            self._process = None
        if self._watchdog is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(STOP_TIMEOUT_S)
            self._watchdog = None
        if self.base is not None:
            shutil.rmtree(self.base, ignore_errors=True)
            self.base = None
        self._reserved.release()

    # Use

    def environment(self):
        """The caller's environment without anything that would redirect libpq."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        clean["PGCLIENTENCODING"] = "UTF8"
        return clean

    def dsn(self, database="postgres", over="tcp", user="postgres"):
        """A postgresql:// URL; over: "tcp" or "socket"."""
        if over == "tcp":
            return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        folder = self.socket_dir.replace("/", "%2F")
        return f"postgresql://{user}@{folder}:{self.port}/{database}"

    def psql_command(self, database="postgres", options=(), user="postgres"):
        """The command line of psql for this server, without any startup file and stopping at the first error."""
        return [self.binary("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p", str(self.port),
                "-U", user, "-d", database, *options]

    def psql(self, sql, options=(), database="postgres", text=True, user="postgres"):
        """Runs a script through psql's standard input and returns its output (bytes with text=False)."""
        done = subprocess.run(self.psql_command(database, options, user), input=sql.encode("utf-8"),
                              env=self.environment(), capture_output=True)
        if done.returncode != 0:
            raise PostgresError(done.stderr.decode("utf-8", "replace").strip())
        return done.stdout.decode("utf-8") if text else done.stdout

    def query(self, sql, database="postgres"):
        """The rows of one SELECT as a list of tuples of str or None."""
        out = self.psql(sql, ["--csv", "-t", "-P", "null=" + _NULL], database)
        # A line without anything is a row of one empty value.
        return [tuple(None if value == _NULL else value for value in row or [""])
                for row in csv.reader(io.StringIO(out, newline=""))]

    def query_value(self, sql, database="postgres"):
        """The only value of the only row."""
        rows = self.query(sql, database)
        if len(rows) != 1 or len(rows[0]) != 1:
            raise PostgresError(f"expected one value, got {len(rows)} rows: {sql}")
        return rows[0][0]

    def log_tail(self, line_count=40):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-line_count:])
        except OSError:
            return ""

    # Inner workings

    def _make_base(self):
        # A socket's path has at most 107 bytes, and the unprivileged user must be able to enter every parent.
        for parent in (tempfile.gettempdir(), "/tmp"):
            if len(parent) > 60 or not self._can_enter(parent):
                continue
            self.base = tempfile.mkdtemp(prefix="dpone-pg-", dir=parent)
            break
        else:
            raise PostgresError(f"no usable folder for temporary files (tried {tempfile.gettempdir()} and /tmp)")
        if self._user is not None:
            os.chown(self.base, self._user.pw_uid, self._user.pw_gid)
        self._watchdog = subprocess.Popen([sys.executable, "-S", "-E", "-c", _WATCHDOG, self.base],
                                          stdin=subprocess.PIPE, start_new_session=True)

    def _can_enter(self, folder):
        return subprocess.run(self._as_user(["test", "-x", folder]), stderr=subprocess.DEVNULL).returncode == 0

    def _as_user(self, command):
        if self._user is None:
            return command
        # setpriv replaces itself by the command, so signals reach PostgreSQL; runuser and su stay in between.
        if shutil.which("setpriv") is None:
            raise PostgresError("setpriv is missing: install the Debian package util-linux")
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups",
                "--", *command]

    def _make_cluster(self, fsync):
        template = _template()
        if template is not None and os.path.isdir(template):
            subprocess.run(["cp", "-a", template, self.data], check=True)
            # As initdb makes it: the time above, chance below.
            if _give_identifier(self.data, int(time.time()) << 32 | secrets.randbits(32)):
                return
            shutil.rmtree(self.data)
        self._initdb(fsync)
        if template is not None and not os.path.isdir(template):
            self._keep_as(template)

    def _keep_as(self, template):
        """It appears whole or not at all; of several tests that come here at once the first wins."""
        being_made = tempfile.mkdtemp(prefix="postgres-", dir=os.path.dirname(template))
        try:
            subprocess.run(["cp", "-a", self.data, os.path.join(being_made, "data")], check=True)
            os.rename(os.path.join(being_made, "data"), template)
        except OSError:
            pass
        finally:
            shutil.rmtree(being_made, ignore_errors=True)

    def _initdb(self, fsync):
        command = [self.binary("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        if not fsync:
            command.append("--no-sync")
        done = subprocess.run(self._as_user(command), env=self.environment(), cwd="/", capture_output=True, text=True)
        if done.returncode != 0:
            raise PostgresError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _configure(self, fsync, settings):
        values = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.socket_dir,
            "wal_level": "logical",
            "max_replication_slots": "20",
            "max_wal_senders": "20",
            "max_connections": "60",
            "max_prepared_transactions": "20",
            "shared_buffers": "32MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        if not fsync:
            # synchronous_commit stays on: decoding sees only WAL that has been written out.
            values.update({"fsync": "off", "full_page_writes": "off"})
        if self._knows("output_plugin_libraries"):
            values["output_plugin_libraries"] = OUTPUT_PLUGINS
        values.update(settings)
        self._settings = values
        self._write_settings()

    def _knows(self, parameter):
        """Whether this server has the parameter: one that is unknown to it keeps a server from starting."""
        done = subprocess.run(self._as_user([self.binary("postgres"), "-D", self.data, "-C", parameter]),
                              env=self.environment(), cwd="/", capture_output=True)
        return done.returncode == 0

    def _write_settings(self):
        lines = []
        for name, value in {**self._settings, "port": self.port}.items():
            quoted = str(value).replace("'", "''")
            lines.append(f"{name} = '{quoted}'\n")
        self._write_file("postgresql.auto.conf", "".join(lines))

    def _write_file(self, name, text):
        path = os.path.join(self.data, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _try_start(self):
        """None, or the log of the failed start."""
        with open(self.log_path, "ab") as log:
            offset = log.tell()
            command = self._as_user([self.binary("postgres"), "-D", self.data])
            self._process = subprocess.Popen(command, env=self.environment(), cwd="/", stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                with open(self.log_path, "rb") as log:
                    log.seek(offset)
                    return log.read().decode("utf-8", "replace")
            if self._ready():
                return None
            time.sleep(0.02)
        self.stop("immediate")
        return f"no connection within {START_TIMEOUT_S} s:\n{self.log_tail()}"

    def _ready(self):
        """The eighth line of postmaster.pid says "ready" once connections are accepted; its first is the pid."""
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                lines = file.read().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"
