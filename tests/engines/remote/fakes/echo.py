"""A fake that answers a GET with a JSON object, and a POST with a stream of numbers."""

from tests.engines.remote.fakes.http_server import EVENTS, FakeServer, Reply, Request, sse


class Echo(FakeServer):
    """Answers a GET with a JSON object, and a POST with a stream of numbers."""

    def reply(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply({"path": request.path})
        return Reply(kind=EVENTS, pieces=[*(sse({"n": n}) for n in range(3)), sse("[DONE]")])
