"""What tests in Python share: the shop set up in a namespace, its manifests as objects that a test may change, and how long
something may take. A test that is given no binary or no bucket of ours says so with exit status 77."""
import base64, json, os, pathlib, subprocess, sys, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = os.environ["FAIRWAY_E2E_NAMESPACE"]
BUCKET = os.environ["FAIRWAY_E2E_BUCKET"]
IMAGE = os.environ["FAIRWAY_E2E_IMAGE"]
BINARY = os.environ.get("FAIRWAY_E2E_BINARY")
CONTROL = os.environ.get("FAIRWAY_E2E_BUCKET_CONTROL")
CLUSTER = os.environ.get("FAIRWAY_E2E_CLUSTER_CONTROL")
TMP = pathlib.Path(os.environ["FAIRWAY_E2E_TMP"])
REGISTRY = f"{BUCKET}/registry"
BEGAN = time.monotonic()


class Failed(Exception):
    """What a test found wrong, for people."""


def skip(why):
    print(why)
    sys.exit(77)


def step(text):
    print(f"{time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


def kubectl(*args, text=None, check=True, namespace=NAMESPACE, seconds=60):
    done = subprocess.run(["kubectl", "-n", namespace, "--request-timeout=15s", *args], input=text, capture_output=True,
                          text=True, timeout=seconds)
    if check and done.returncode:
        raise Failed(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def get(kind, name=None, namespace=NAMESPACE):
    """An object, or the list of all; None or [] where there is none, or nobody answers."""
    found = kubectl("get", kind, *([name] if name else []), "-o", "json", check=False, namespace=namespace)
    if not found:
        return None if name else []
    return json.loads(found) if name else json.loads(found)["items"]


def apply(*objects, namespace=NAMESPACE):
    kubectl("apply", "-f", "-", text="\n---\n".join(json.dumps(one) for one in objects), namespace=namespace)


def patch(kind, name, change, namespace=NAMESPACE):
    kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change), namespace=namespace)


def condition(of, kind):
    """The condition of an object, or {}."""
    conditions = ((of or {}).get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def holds(of, kind):
    return condition(of, kind).get("status") == "True"


def until(seconds, what, true, every=1.0):
    """Waits until something is true, and gives what it gave."""
    began = time.monotonic()
    while True:
        found = true()
        if found:
            step(f"{what} ({time.monotonic() - began:.0f} s)")
            return found
        if time.monotonic() - began > seconds:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(every)


def bucket_env():
    lines = pathlib.Path(os.environ["FAIRWAY_E2E_BUCKET_ENV"]).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def fairway(*args, check=True, env=None, seconds=120):
    """The binary on this machine, which reaches the bucket and the cluster."""
    env = {**os.environ, **bucket_env(), **(env or {}), "RUST_BACKTRACE": "0"}
    done = subprocess.run([BINARY, *args], env=env, capture_output=True, text=True, timeout=seconds)
    if check and done.returncode:
        raise Failed(f"fairway {' '.join(args)}: {done.stderr.strip()}")
    return done


def manifests(registry=REGISTRY):
    """Model and ModelEndpoint of the story, as objects."""
    text = (HERE / "story/shop.yaml").read_text()
    text = text.replace("${registry}", registry).replace("${data}", f"{BUCKET}/sales/")
    objects = kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", text=text)
    decoder, found = json.JSONDecoder(), []
    while objects.strip():
        one, end = decoder.raw_decode(objects := objects.lstrip())
        objects = objects[end:]
        found += one["items"] if one["kind"] == "List" else [one]
    for one in found:
        one["metadata"].pop("namespace", None)  # of whoever applies them
    model, endpoint = found
    return model, endpoint


def definitions():
    """The project's kinds, which belong to nobody's release and stay."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(HERE / "../charts/fairway/files/crds"))


def install(*more, namespace=NAMESPACE):
    """The chart, in the namespace of the test."""
    done = subprocess.run([HERE / "install", namespace, *more], capture_output=True, text=True, timeout=200)
    if done.returncode == 77:
        skip(done.stderr.strip())
    if done.returncode:
        raise Failed(f"the chart does not install: {done.stderr.strip()}")


def open_shop(namespace=NAMESPACE):
    """Past sales of the shop in the bucket, and the Secret that opens it."""
    if not BINARY:
        skip("there is no binary to write the shop's past sales with")
    folder = TMP / "manifests"
    if not folder.exists():
        folder.mkdir()
        text = (HERE / "story/shop.yaml").read_text()
        text = text.replace("${registry}", f"{BUCKET}/seed").replace("${data}", f"{BUCKET}/sales/")
        (folder / "shop.yaml").write_text(text)
        (folder / "story.yaml").write_text((HERE / "story/story.yaml").read_text())
        fairway("story", str(folder), "--seed-only", "--work", str(TMP / "story"))
    secret(namespace)


def secret(namespace=NAMESPACE):
    kubectl("create", "secret", "generic", "bucket", f"--from-env-file={os.environ['FAIRWAY_E2E_BUCKET_ENV']}", namespace=namespace)


def versions(model="shop-recs", namespace=NAMESPACE, registry=REGISTRY):
    """The versions that the registry's log holds, by number."""
    said = fairway("registry", "show", f"models:/{namespace}/{model}", "--registry", registry, "--output", "json")
    return json.loads(said.stdout)


def go(program):
    """Builds a program of this folder."""
    to = TMP / program
    if not to.exists():
        subprocess.run(["nice", "go", "build", "-o", str(to), "."], cwd=HERE / program, check=True)
    return str(to)


class Load:
    """Requests at a steady rate to the endpoint's routers, from this machine."""

    def __init__(self, rate=40, name="shop", namespace=NAMESPACE):
        address = get("service", name, namespace)["spec"]["clusterIP"]
        self.log = TMP / f"requests-{name}.csv"
        self.process = subprocess.Popen([go("load"), "-url", f"http://{address}", "-rate", str(rate), "-log", str(self.log)])

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def between(self, begin, end):
        """Requests that began in this time (seconds since 1970): the second, how many ms it took, how it ended, who answered."""
        rows = []
        for line in self.log.read_text().splitlines():
            parts = line.split(",")
            if len(parts) == 4 and begin <= int(parts[0]) / 1000 < end:
                rows.append((int(parts[0]) / 1000 - begin, int(parts[1]) / 1000, parts[2], parts[3]))
        return rows


class Proxy:
    """e2e/faults in front of the API server, with a kubeconfig that names it."""

    def __init__(self, name="faults"):
        config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        ca = TMP / f"{name}.crt"
        if "certificate-authority-data" in cluster:
            ca.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        else:
            ca.write_bytes(pathlib.Path(cluster["certificate-authority"]).read_bytes())
        self.kubeconfig = TMP / f"{name}.kubeconfig"
        self.process = subprocess.Popen(
            [go("faults"), "-upstream", cluster["server"], "-ca", str(ca), "-token", user["token"],
             "-kubeconfig", str(self.kubeconfig), "-log", str(TMP / f"{name}.log")], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def rules(self, **rules):
        body = json.dumps(rules).encode()
        urllib.request.urlopen(urllib.request.Request(self.url + "/faults", data=body, method="POST"), timeout=5).read()

    def told(self):
        return json.loads(urllib.request.urlopen(self.url + "/faults", timeout=5).read())

    def stop(self):
        self.process.kill()
        self.process.wait()


class Operator:
    """The operator outside of the cluster."""

    def __init__(self, kubeconfig, name="operator", namespace=NAMESPACE, lease="3s", wrapped=(), more=()):
        """`namespace` may be several, with commas; the Lease is in the last one."""
        self.kubeconfig, self.name, self.namespace, self.lease = kubeconfig, name, namespace, lease
        self.log, self.process, self.wrapped, self.more = TMP / f"{name}.log", None, list(wrapped), list(more)

    def start(self):
        env = {**os.environ, **bucket_env(), "KUBECONFIG": str(self.kubeconfig), "FAIRWAY_LOG": "info", "RUST_BACKTRACE": "0"}
        self.process = subprocess.Popen(
            [*self.wrapped, BINARY, "operator", "--image", IMAGE, "--watch", self.namespace,
             "--namespace", self.namespace.split(",")[-1], "--identity", self.name, "--lease-duration", self.lease,
             "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *self.more],
            env=env, stdout=open(self.log, "a"), stderr=subprocess.STDOUT)
        return self.process.pid

    def alive(self):
        return self.process and self.process.poll() is None

    def stop(self, seconds=15):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def registered(run):
    """The run, once it has registered a version."""
    found = get("trainingrun", run)
    if holds(found, "Failed") or holds(found, "Rejected"):
        raise Failed(f"the run {run} ended as {found['status']['conditions']}")
    return found if holds(found, "Complete") else None


def endpoint_ready(name="shop", namespace=NAMESPACE):
    found = get("modelendpoint", name, namespace)
    return found if holds(found, "Ready") else None


def run(main):
    """A test: what it found wrong is told, and it fails."""
    try:
        main()
    except Failed as why:
        print(f"FAILED: {why}", flush=True)
        sys.exit(1)
