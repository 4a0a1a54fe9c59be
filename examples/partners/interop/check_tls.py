"""Our clients against a foreign TLS: OpenSSL, by Python's ssl, in front of the three partners.

    python3 check_tls.py target/debug target/debug/examples/ask

Exits with 0 if each client speaks to whom it should, to nobody else, and says what became of a call.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from partner import running

programs, ask = sys.argv[1:3]
checks = 0


def same(found, expected, what):
    global checks
    checks += 1
    assert found == expected, f"{what}: {found!r} is not {expected!r}"


# --- certificates, by OpenSSL's own tool ---


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-addext", "keyUsage=critical,keyCertSign", folder=folder)


def certificate(folder, name, by, host="127.0.0.1", days=2, usage="serverAuth"):
    kind = "IP" if host[0].isdigit() else "DNS"
    with open(os.path.join(folder, f"{name}.ext"), "w") as file:
        file.write(f"subjectAltName={kind}:{host}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial",
            "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem", folder=folder)


# --- what stands before a partner ---


class Door:
    """Takes TLS off for a partner that has none."""

    def __init__(self, context, port):
        self.context, self.port = context, port
        self.handshakes, self.versions = 0, set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as outer:
                self.handshakes += 1
                self.versions.add(outer.version())
                with socket.create_connection(("127.0.0.1", self.port)) as inner:
                    back = threading.Thread(target=self.copy, args=(inner, outer), daemon=True)
                    back.start()
                    self.copy(outer, inner)
                    back.join()
        except OSError:
            # A client that does not like what it sees.
            plain.close()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


def main(folder):
    authority(folder, "root")
    authority(folder, "stranger")
    certificate(folder, "server", "root")
    certificate(folder, "elsewhere", "root", host="elsewhere.example")
    certificate(folder, "expired", "root", days=0)
    certificate(folder, "forged", "stranger")
    certificate(folder, "client", "root", host="client.example", usage="clientAuth")
    file = lambda name: os.path.join(folder, name)

    def context(name, minimum=None, maximum=None, mutual=False):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(file(f"{name}.pem"), file(f"{name}.key"))
        if minimum:
            made.minimum_version = minimum
        if maximum:
            made.maximum_version = maximum
        if mutual:
            made.load_verify_locations(file("root.pem"))
            made.verify_mode = ssl.CERT_REQUIRED
        return made

    with contextlib.ExitStack() as stack:
        program = lambda name: os.path.join(programs, f"partner-{name}")
        ports = {name: stack.enter_context(running(program(name))) for name in ("cms", "wms", "ros")}
        orders = iter(range(1, 1000))

        def asking(name, made, *more, host="127.0.0.1", ca="root.pem"):
            """What came of it: the last line that was said, and the door."""
            door = stack.enter_context(contextlib.closing(Door(made, ports[name])))
            scheme = "tls" if name == "wms" else "https"
            arguments = [f"--{name}", f"{scheme}://{host}:{door.address}", "--order", f"TLS-{next(orders)}",
                         "--ca", file(ca), *more]
            done = subprocess.run([ask, *arguments], capture_output=True, text=True, timeout=60)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            same(done.returncode, 0 if "class" not in lines[-1] else 1, done.stderr)
            return lines, door

        def understood(name, what, made, *more, version=None, **options):
            lines, door = asking(name, made, *more, **options)
            same(len(lines), 3, f"{name}, {what}: {lines[-1]}")
            same("class" in lines[-1], False, f"{name}, {what}: {lines[-1]}")
            if version:
                same(door.versions, {version}, f"{name}, {what}")

        def refused(name, what, kind, made, *more, said="", **options):
            lines, _ = asking(name, made, *more, **options)
            same(len(lines), 1, f"{name}, {what}: {lines}")
            same(lines[0].get("class"), kind, f"{name}, {what}: {lines}")
            assert said.lower() in lines[0]["error"].lower(), f"{name}, {what}: {lines}"

        mine = ["--cert", file("client.pem"), "--key", file("client.key")]
        new, old = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
        for name in ports:
            understood(name, "TLS 1.3", context("server", minimum=new), version="TLSv1.3")
            understood(name, "TLS 1.2", context("server", maximum=old), version="TLSv1.2")
            understood(name, "both shown", context("server", mutual=True), *mine)
            refused(name, "another's name", "NotApplied", context("elsewhere"), said="not valid for name")
            refused(name, "expired", "NotApplied", context("expired"), said="expired")
            refused(name, "a stranger's word", "NotApplied", context("forged"), said="UnknownIssuer")
            refused(name, "nobody trusted", "NotApplied", context("server"), ca="stranger.pem", said="UnknownIssuer")
            # In TLS 1.2 the door closes before the first byte of a request; in 1.3 after it, perhaps.
            refused(name, "nothing shown, 1.2", "NotApplied", context("server", maximum=old, mutual=True))
            for _ in range(5):
                lines, _ = asking(name, context("server", minimum=new, mutual=True))
                same(lines[0].get("class") in ("NotApplied", "Unknown"), True, f"{name}, nothing shown: {lines}")


with tempfile.TemporaryDirectory() as scratch:
    main(scratch)
print(f"{ssl.OPENSSL_VERSION}: {checks} checks, all as they should be")
