"""A receiver that prints what it gets: `python -m examples.webhooks.receive [PORT]`."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        sys.stdout.write(f"{self.headers['webhook-id']} {body.decode()}\n")
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int((sys.argv[1:] or ["9000"])[0])), Receiver).serve_forever()
