"""A real Apache Kafka (KRaft, one node) from its jars, with every kind of listener that users have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from streams import child

HERE = Path(__file__).parent
JARS = HERE / "jars"
USER, PASSWORD = "groundswell", "right-password"
START_SECONDS = 90.0
#: Any will do: a KRaft cluster id is a base64 UUID.
CLUSTER_ID = "R3JvdW5kc3dlbGxLYWZrYQ"


class Server(msgspec.Struct, frozen=True):
    """Where a running broker listens, as host:port, and the files that a client needs.

    mutual: TLS that demands a client's certificate. scram: SASL over TLS.
    """

    plaintext: str
    mutual: str
    sasl: str
    scram: str
    ca_file: Path
    cert_file: Path
    key_file: Path
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch_jars() -> None:
    """Get the server's jars as pom.xml pins them, one process at a time.

    RuntimeError where a tool is missing or the download fails.
    """
    for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven"), ("openssl", "openssl")):
        if shutil.which(tool) is None:
            raise RuntimeError(f"the tests on real Kafka need `{tool}`: apt-get install {package}")
    # The pom in the folder, too, is the proof that the download was whole and of the versions wanted now.
    marker, pom = JARS / ".pom.xml", HERE / "pom.xml"
    with pom.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if marker.exists() and marker.read_bytes() == pom.read_bytes():
            return
        shutil.rmtree(JARS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed in {HERE}:\n{done.stdout}{done.stderr}")
        shutil.copy(pom, marker)


def make_certificates(folder: Path) -> None:
    """An authority of its own (ca.pem), and signed by it: server.pem (key and chain), client.key and client.pem."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-noenc")
    openssl(
        "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority"
    )
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    (folder / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name in ("server", "client"):
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.crt", "-days", "2")
    # Kafka reads a PEM key store: the key first, then its chain.
    (folder / "server.pem").write_text(
        "".join((folder / part).read_text() for part in ("server.key", "server.crt", "ca.pem"))
    )


def _properties(folder: Path, ports: dict[str, int]) -> str:
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
    advertised = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items() if name != "CONTROLLER")
    return f"""
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:{ports["CONTROLLER"]}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL:SASL_PLAINTEXT,SCRAM:SASL_SSL
log.dirs={folder / "data"}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
ssl.keystore.type=PEM
ssl.keystore.location={folder / "server.pem"}
ssl.truststore.type=PEM
ssl.truststore.location={folder / "ca.pem"}
listener.name.ssl.ssl.client.auth=required
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{USER}="{PASSWORD}";
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


def _java(main: str, *arguments: str) -> list[str]:
    options = ["-Xms256m", "-Xmx768m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [shutil.which("java") or "java", *options, "-cp", f"{JARS}/*", main, *arguments]


def _wait(process: subprocess.Popen[bytes], ports: dict[str, int], log: Path) -> None:
    """Return once every listener takes connections. RuntimeError with the log's end if the server dies or is slow."""
    deadline = time.monotonic() + START_SECONDS
    waiting = set(ports.values())
    while waiting:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Kafka did not start (exit code {process.poll()}); it said:\n{child.tail(log, 60)}")
        for port in list(waiting):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                waiting.discard(port)
        time.sleep(0.1)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A broker that keeps its data in `folder` and ends with the block.

    RuntimeError says what is missing on the machine, or what the server said when it did not start.
    """
    fetch_jars()
    folder.mkdir(parents=True, exist_ok=True)
    make_certificates(folder)
    ports = {name: free_port() for name in ("PLAINTEXT", "SSL", "SASL", "SCRAM", "CONTROLLER")}
    properties = folder / "server.properties"
    properties.write_text(_properties(folder, ports))
    scram = [
        f"--add-scram={mechanism}=[name={USER},password={PASSWORD}]" for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]
    storage = _java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties), *scram)
    formatted = subprocess.run(storage, capture_output=True, text=True)
    if formatted.returncode:
        raise RuntimeError(f"Kafka's storage was not formatted:\n{formatted.stdout}{formatted.stderr}")
    log = folder / "server.log"
    process = child.start(_java("kafka.Kafka", str(properties)), env=os.environ, log=log)
    try:
        _wait(process, ports, log)
        yield Server(
            plaintext=f"127.0.0.1:{ports['PLAINTEXT']}",
            mutual=f"127.0.0.1:{ports['SSL']}",
            sasl=f"127.0.0.1:{ports['SASL']}",
            scram=f"127.0.0.1:{ports['SCRAM']}",
            ca_file=folder / "ca.pem",
            cert_file=folder / "client.crt",
            key_file=folder / "client.key",
            process=process,
            log=log,
        )
    finally:
        # Nothing of it is needed again, so it need not close its logs in order.
        process.kill()
        process.wait()


def start_again(killed: Server) -> subprocess.Popen[bytes]:
    """The broker once more after it was killed, on its ports and with its data; it does not wait until that answers."""
    properties = killed.log.parent / "server.properties"
    return child.start(_java("kafka.Kafka", str(properties)), env=os.environ, log=killed.log)
