"""How many trials a second one process runs and stores against a server that answers at once.

    python tests/benchmarks/bench_throughput.py [TRIALS]

The server is nginx with a constant reply (one worker, loopback). The figure is trials over the
run's own seconds, from the first request to the last commit; start-up is printed beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fake_servers import free_port

REPLY = {
    "choices": [
        {
            "finish_reason": "stop",
            "index": 0,
            "message": {"role": "assistant", "content": "The capital of France is Paris."},
        }
    ],
    "model": "m",
    "object": "chat.completion",
    "usage": {"completion_tokens": 8, "prompt_tokens": 30, "total_tokens": 38},
    "timings": {"prompt_ms": 10.5, "prompt_per_second": 300.1, "predicted_per_second": 160.1},
}
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; error_page 405 =200 $uri; return 200 '{reply}'; }}
  }}
}}
"""
EXPERIMENT = """
name: throughput
trials: {trials}
backends: {{e: {{kind: endpoint, url: "http://127.0.0.1:{port}/v1", concurrency: 16}}}}
models: {{m: {{id: m}}}}
sampling: {{temperature: [0.1, 0.5]}}
tests:
  - name: t
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""


def main(trials: int) -> None:
    """Run the experiment three times, each with a new store, and print the rates."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, port=port, reply=json.dumps(REPLY)), encoding="utf-8"
        )
        path = folder / "exp.yaml"
        path.write_text(EXPERIMENT.format(trials=trials // 2, port=port), encoding="utf-8")
        with subprocess.Popen([nginx, "-c", str(folder / "nginx.conf")]) as server:
            try:
                for _ in range(3):
                    run(path)
            finally:
                server.terminate()


def run(path: Path) -> None:
    """Run once and print trials a second, and what the process took beside the run."""
    shutil.rmtree(path.parent / ".matrixbench", ignore_errors=True)
    command = [sys.executable, "-m", "matrixbench", "execute", str(path), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    whole = time.perf_counter() - began
    told = json.loads(done.stdout)
    assert told["outcomes"] == {"passed": told["ran"]}
    print(
        f"{told['ran']:,} trials stored in {told['seconds']:.2f} s: "
        f"{told['ran'] / told['seconds']:,.0f} a second; whole process {whole:.2f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20_000)
