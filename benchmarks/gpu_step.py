"""Compare training steps on a GPU with PyTorch's; ``python benchmarks/step.py --device gpu`` runs it.

Our step runs one kernel at a time (eager), and recorded as a CUDA graph. PyTorch's step runs eager and, as a whole,
recorded as a CUDA graph, in both memory layouts, and, on request, compiled with mode="reduce-overhead", which makes
graphs, too. All have the same precision. They take turns, with ten steps in a row each, timed by CUDA events; figures
are medians.
"""

import gc
from collections.abc import Callable
from typing import Any

from clock import interleaved, timer, torch_timer
from step import CASES, LAYOUTS, batch, ours

from minidl import kernels
from minidl.experiment.recipes import recipe

Step = Callable[[], Any]

IN_A_ROW = 10
WAYS = ("eager", "graph", "compiled")  # the ways to run PyTorch's step
TRAINING_IMAGES = {"cifar10": 50_000, "voc2012": 1_464}
WITHOUT = {"WC, GC, fully": "Baseline", "WC, GC, BN": "BN"}  # for each method, the same net without WC and GC


def recorded(name: str, method: str) -> tuple[Step, Any, Any]:
    """Return our step, the same step as a graph, and the net."""
    step, net, _ = ours(name, method, device="gpu")
    return step, net.kernels.record(step, lambda: net.version), net


def theirs(name: str, method: str, layout: str, precision: str, way: str) -> Step:
    """Return PyTorch's training step; way: "eager", "graph" or "compiled"."""
    import torch
    import torch_nets

    torch.backends.cudnn.benchmark = True  # PyTorch tries cuDNN's algorithms, and takes the fastest
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    case = CASES[name]
    data, labels = batch(case)
    settings = recipe(case.data)
    net: Any = torch_nets.build(name, case.classes, "BN" in method, layout).cuda()
    optimizer = torch_nets.optimizer(settings.optimizer, net, settings.learning_rate, settings.weight_decay)
    images, targets = torch.tensor(data).permute(0, 3, 1, 2).cuda(), torch.tensor(labels).long().cuda()
    images = images if layout == "channels_last" else images.contiguous()
    if way == "compiled":
        net = torch.compile(net, mode="reduce-overhead")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()

    return captured(step) if way == "graph" else step


def captured(step: Step) -> Step:
    """Return a function that replays PyTorch's step as a CUDA graph."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(arrays: Step = step) -> None:  # keeps ``step`` alive, as the graph has only the addresses of its arrays
        graph.replay()

    return replay


def measure(name: str, method: str, precision: str | None, rounds: int, compiled: bool) -> dict[str, Any]:
    """Return the row of a net."""
    device = kernels.load("gpu", precision)
    pool = device.xp.get_default_memory_pool()
    eager, graph, net = recorded(name, method)
    works = {"ours_eager": (eager, timer(device)), "ours": (graph, timer(device))}
    for _ in range(3):
        graph()
    own = pool.total_bytes() + (graph.pool.total_bytes() if graph.pool else 0)
    if method in WITHOUT:
        works["without_wc_gc"] = (recorded(name, WITHOUT[method])[1], timer(device))
    found = has_torch()
    if found:
        ways = [(way, layout) for way in WAYS[:2] for layout in LAYOUTS]
        for way, layout in [*ways, *([("compiled", "channels_last")] if compiled else [])]:
            works[f"{way}_{layout}"] = theirs(name, method, layout, device.precision, way), torch_timer()
    medians = interleaved(works, rounds, IN_A_ROW)
    case, settings = CASES[name], recipe(CASES[name].data)
    steps = -(-TRAINING_IMAGES[case.data] // settings.batch_size) * settings.epochs
    row = {
        "model": name,
        "method": method,
        "batch": settings.batch_size,
        "precision": device.precision,
        "products": next(layer.algorithm.name for layer in net.layers if layer.kind == "conv"),
        "recorded": graph.graph is not None,
        **{f"{work}_ms": round(ms, 4) for work, ms in medians.items()},
        "recipe_hours": round(steps * medians["ours"] / 3.6e6, 2),
        "ours_mb": round(own / 1e6),
        **(profile(graph, medians["ours"]) if found else {}),
    }
    for way in WAYS:
        if rivals := [ms for work, ms in medians.items() if work.startswith(f"{way}_")]:
            row[f"to_{way}"] = round(min(rivals) / medians["ours"], 3)
    if "without_wc_gc" in medians:
        row["wc_gc_share"] = round(1 - medians["without_wc_gc"] / medians["ours"], 4)
    gc.collect()
    return row


def has_torch() -> bool:
    """Return whether PyTorch is installed and finds the GPU."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def profile(step: Step, ms: float) -> dict[str, Any]:
    """Return the number of kernels and copies of a step, and the sum of their times divided by the time of the step.

    The quotient is above 1 if some run at the same time. PyTorch's profiler sees all kernels of the process.
    """
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(IN_A_ROW):
            step()
        torch.cuda.synchronize()
    events = [event for event in profile.key_averages() if event.self_device_time_total]
    microseconds = sum(event.self_device_time_total for event in events)
    if not microseconds:
        return {}
    count = round(sum(event.count for event in events) / IN_A_ROW)
    return {"nodes": count, "busy": round(microseconds / 1000 / IN_A_ROW / ms, 3)}


COLUMNS = {
    "model": "net",
    "method": "method",
    "products": "products",
    "precision": "precision",
    "ours_ms": "minidl, graph, ms",
    "ours_eager_ms": "eager",
    "eager_contiguous_ms": "PyTorch, channels first",
    "eager_channels_last_ms": "channels last",
    "graph_contiguous_ms": "in a graph, first",
    "graph_channels_last_ms": "last",
    "compiled_channels_last_ms": "compiled, last",
    "to_eager": "PyTorch/minidl",
    "to_graph": "in a graph/minidl",
    "to_compiled": "compiled/minidl",
    "wc_gc_share": "WC, GC",
    "nodes": "kernels",
    "busy": "their time/step",
    "recipe_hours": "recipe, hours",
    "ours_mb": "memory, MB",
}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows in Markdown; what was not measured is a dash."""
    head = [" | ".join(COLUMNS.values()), " | ".join("---" for _ in COLUMNS)]
    lines = [" | ".join("–" if row.get(key) is None else f"{row[key]}" for key in COLUMNS) for row in rows]
    return "\n".join(f"| {line} |" for line in (*head, *lines))
