"""Serve a bank over HTTP: one network in memory, and tasks that come and go while it runs.

    python examples/serve_bank.py            # needs the extra `serve`; then see http://127.0.0.1:8000/docs
    python examples/serve_bank.py --bench    # requests per second on this machine
    curl -X PUT --data-binary @found.ticket http://127.0.0.1:8000/tasks/letters

A ticket is data, and nothing in it is run. But everybody may add tasks: serve others from behind a login only.
"""

import http.client
import json
import socket
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated

import torch
import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field

import untrained as ut

MOST_BYTES, MOST_IMAGES, MOST_TASKS = 2**23, 256, 1000


def make_app(bank: ut.Bank, shape: tuple[int, ...]) -> FastAPI:
    """Return the server of a bank whose network takes images of this shape, each sent as a list of numbers."""
    app, times = FastAPI(title="A bank of tasks"), deque([time.monotonic()], maxlen=1000)
    size = torch.Size(shape).numel()
    Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
    Image = Annotated[list[Number], Field(min_length=size, max_length=size)]
    Images = Annotated[list[Image], Field(min_length=1, max_length=MOST_IMAGES)]

    @app.middleware("http")
    async def limit(request: Request, call_next):
        sends = request.method in ("POST", "PUT")  # no body is read of the others
        length = request.headers.get("content-length", "") if sends else "0"
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return JSONResponse({"detail": f"a body must state its length, at most {MOST_BYTES} bytes"}, 413)
        return await call_next(request)

    @app.exception_handler(ValueError)  # a row without a task, a ticket that does not fit
    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: Exception) -> JSONResponse:
        said = str(error)
        if isinstance(error, RequestValidationError):
            said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
        return JSONResponse({"detail": said}, 422)

    def check_known(tasks: list[str]) -> None:
        if unknown := [task for task in tasks if task not in bank]:
            raise HTTPException(404, f"there is no task {unknown[0]!r}")

    @app.post("/predict_batch")
    def predict_batch(
        images: Annotated[Images, Body()], tasks: Annotated[list[str] | None, Body()] = None
    ) -> list[dict]:
        check_known(tasks or [])
        x = torch.tensor(images).reshape(-1, *shape)
        if tasks is None:  # the task whose own output is surest, for each image
            tasks = bank.which(x, how="each", per="row").task
        with torch.inference_mode():
            rows = bank(x, tasks).tolist()
        times.append(time.monotonic())
        logits = [[value for value in row if value > -torch.inf] for row in rows]  # of a task's own classes
        return [{"task": t, "class": row.index(max(row)), "logits": row} for t, row in zip(tasks, logits, strict=True)]

    @app.post("/predict")
    def predict(image: Annotated[Image, Body()], task: Annotated[str | None, Body()] = None) -> dict:
        return predict_batch([image], None if task is None else [task])[0]

    @app.get("/tasks")
    def tasks() -> list[dict]:
        return [{"task": task.name, "labels": task.labels, "bytes": len(task.file)} for task in bank.tasks]

    @app.put("/tasks/{name}", status_code=201)
    async def add(name: str, request: Request) -> None:
        await run_in_threadpool(add_ticket, name, await request.body())

    def add_ticket(name: str, data: bytes) -> None:
        if len(bank) >= MOST_TASKS:
            raise ValueError(f"the bank has {len(bank)} tasks already")
        bank.add(name, ut.Ticket.from_bytes(data))

    @app.delete("/tasks/{name}")
    def remove(name: str) -> None:
        check_known([name])
        bank.remove(name)

    @app.get("/speed")
    def speed() -> dict[str, float]:
        return {"requests_per_second": (len(times) - 1) / (time.monotonic() - times[0])}

    return app


@contextmanager
def running(app: FastAPI, port: int = 0):
    """Run the server in a thread, on this machine's own address alone, and yield its port (0: a free one)."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while thread.is_alive() and not server.started:
                time.sleep(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def bench(port: int, names: list[str], size: int, requests: int = 2000, threads: int = 8) -> float:
    """Return the requests per second that threads are answered; each asks for one image, and another task each time."""

    def work(thread: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(requests // threads):
            one = {"image": [0.5] * size, "task": names[(thread + number) % len(names)]}
            connection.request("POST", "/predict", json.dumps(one), {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        connection.close()

    start = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return requests / (time.monotonic() - start)


if __name__ == "__main__":
    data = ut.load_data("digits")
    bank = ut.Bank(ut.models.fc((128,), norm="batch", shape=data.shape))
    for name, axes in {"digits": (), "mirrored": (3,)}.items():
        model = bank.masked(ut.EdgePopup(keep=0.5))
        ut.fit(model, [(x.flip(axes), y) for x, y in data.batches("train", 64)], epochs=5, title=None)
        bank.add(name, model, {"labels": data.labels})
    with running(make_app(bank, data.shape), 0 if "--bench" in sys.argv else 8000) as port:
        if "--bench" in sys.argv:
            print(f"{bench(port, bank.names, torch.Size(data.shape).numel()):,.0f} requests per second")
        else:
            input("Enter stops the server\n")
