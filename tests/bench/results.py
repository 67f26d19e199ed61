"""results.py - keeps what was measured in a JSON file, part by part, and describes the machine.

The Aldis developers

compare.py and growth.py call it. A part is written as soon as it is measured, so that a run which was ended loses only
the part at hand, and one that goes on with --missing measures only what is not there.
"""

import datetime
import json
import os
import platform
import re
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "results"


def _first(path, pattern):
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace"), re.M)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def machine():
    """What of the machine matters for figures; nothing that tells which one it is."""
    memory = int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0)
    return {"cpu": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$") or platform.machine(),
            "cores": os.cpu_count(), "memory_gb": round(memory / 1048576, 1), "kernel": platform.release().split("-")[0],
            "system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)') or platform.system(),
            "files_a_process": _first("/proc/self/limits", r"^Max open files\s+\S+\s+(\S+)")}


def machine_text(what):
    return (f"{what['cpu']}, {what['cores']} cores, {what['memory_gb']} GB; {what['system']}, Linux {what['kernel']}; "
            f"{what['files_a_process']} descriptors a process; server and load generator on the same machine")


class Results:
    """A file of parts: results[group][part]."""

    def __init__(self, path):
        self.path = Path(path)
        self.groups, self.about = {}, {}
        if self.path.exists():
            everything = json.loads(self.path.read_text())
            self.groups, self.about = everything["results"], everything.get("about", {})

    def has(self, group, part):
        return bool(self.groups.get(group, {}).get(part))

    def put(self, group, part, figures):
        """Takes a part in the place of an older one, and writes the file."""
        if isinstance(figures, dict):
            figures = {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **figures}
        self.groups.setdefault(group, {})[part] = figures
        self.write()

    def write(self):
        self.about["machine"] = machine()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for group, parts in self.groups.items():
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in parts.items())
            lines.append(f" {json.dumps(group)}: {{\n{inner}\n }}")
        text = ('{"about": ' + json.dumps(self.about) + ',\n"results": {\n' + ",\n".join(lines) + "\n}}\n")
        temporary = self.path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.path)


def markdown(lines):
    """A Markdown table; the first line is its head, all columns but the first are numbers."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for number, line in enumerate(lines):
        text.append("| " + " | ".join(w.ljust(n) if i == 0 else w.rjust(n)
                                      for i, (w, n) in enumerate(zip(line, widths))) + " |")
        if number == 0:
            text.append("|" + "|".join("-" * (n + 1) + (":" if i else "-") for i, n in enumerate(widths)) + "|")
    return "\n".join(text)
