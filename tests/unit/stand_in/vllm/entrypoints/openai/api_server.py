"""A server with vLLM's command line and interface, which misbehaves as the environment says.

STAND_IN: `fail` prints STAND_IN_SAYS and ends; `never` does not get ready; `crash-N` dies at the Nth request,
as long as there is no file STAND_IN_LIVES; `slow` takes a fifth of a second for each answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

flags = dict(each.removeprefix("--").split("=", 1) for each in sys.argv[1:] if "=" in each)
mode = os.environ.get("STAND_IN", "")
asked = 0
guard = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def tell(self, status: int, answer: object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def allowed(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {os.environ['VLLM_API_KEY']}":
            return True
        self.tell(401, {"error": {"message": "Unauthorized"}})
        return False

    def do_GET(self) -> None:
        if self.path == "/health":
            self.tell(503 if mode == "never" else 200, {})
        elif self.allowed():
            model = {
                "id": flags["served-model-name"],
                "object": "model",
                "owned_by": "vllm",
                "max_model_len": 64,
                "root": flags["model"],
            }
            self.tell(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        global asked
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.allowed():
            return
        with guard:
            asked += 1
            if mode.startswith("crash-") and asked == int(mode.removeprefix("crash-")) and not lives():
                Path(os.environ["STAND_IN_LIVES"]).write_text("one\n")
                os._exit(1)
        if mode == "slow":
            time.sleep(0.2)
        if self.path.endswith("/completions") and not self.path.endswith("/chat/completions"):
            self.tell(200, {"choices": [{"prompt_logprobs": likelihoods(body["prompt"])}]})
            return
        text = body["messages"][-1]["content"]
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": f"{text}#{body['seed'] + index}"},
                "finish_reason": "stop",
                "token_ids": [1, 2, 3 + body["seed"] % 5 + index],
                "logprobs": {"content": [{"logprob": -0.5}] * 3} if body.get("logprobs") else None,
            }
            for index in range(body["n"])
        ]
        self.tell(
            200, {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3 * len(choices)}}
        )


def likelihoods(ids: list[int]) -> list[object]:
    """The further a token's id is from the length of the model's name, the less likely it is."""
    width = len(flags["served-model-name"])
    found: list[object] = [None]
    return found + [{str(token): {"logprob": -abs(token - width) / 8, "rank": 1}} for token in ids[1:]]


def lives() -> bool:
    return Path(os.environ["STAND_IN_LIVES"]).exists()


if __name__ == "__main__":
    if mode == "fail":
        sys.exit(os.environ["STAND_IN_SAYS"])
    # vLLM has workers; one that left the group is the harder case.
    for session in (False, True):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=session)
    ThreadingHTTPServer((flags["host"], int(flags["port"])), Handler).serve_forever()
