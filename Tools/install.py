"""Installs the packages of an environment, and says in helpful words why it could not."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

from environment import Environment, EnvironmentProblem, clean_variables, say

SIZE = "2 GB"

WITHOUT_NETWORK = """On a computer with a network, with the same system and the same Python:
        python3 -m pip download --only-binary :all: -r requirements.txt -d wheels
    copy the folder "wheels" here, and set MEDPREP_WHEELS to it."""

# What a tool prints, and what a user makes of it; the first that fits counts.
CAUSES = {
    r"No space left|Errno 28\b|Disk quota exceeded|not enough space on the disk|WinError 112\b": (
        f"The disk is full.\nExpected: about {SIZE} free for {{home}}, and as much in the temporary folder.\n"
        "What to do: free some space (python3 -m pip cache purge may help), or set TMPDIR to a larger disk; "
        "then run this again."
    ),
    r"ensurepip is not available|No module named '?(venv|ensurepip)": (
        "This Python comes without its venv module, which makes virtual environments.\n"
        "What to do:\n    Debian, Ubuntu:  sudo apt install python{python}-venv    (or python3-venv)\n"
        "    elsewhere:       install a complete Python from python.org or with your package manager;\n"
        "then run this again."
    ),
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Max retries exceeded|ProxyError|SSLError"
    r"|CERTIFICATE_VERIFY_FAILED|getaddrinfo failed|name resolution|Name or service not known"
    r"|Connection refused|ConnectionResetError|ProtocolError|Could not fetch URL|Network is unreachable": (
        "The package registry cannot be reached.\n"
        "Expected: a connection to the index that pip is set up for; only this first run needs it.\n"
        "What to do, one of:\n"
        "  - check the network, or name the proxy: HTTPS_PROXY=http://HOST:PORT\n"
        "  - name your institution's own index, PIP_INDEX_URL=https://HOST/simple (or: pip config set\n"
        "    global.index-url https://HOST/simple), and its certificate, PIP_CERT=FILE\n"
        "  - no network at all: " + WITHOUT_NETWORK.replace("{", "{{")
    ),
    r"Permission denied|Errno 13\b|Read-only file system|Errno 30\b|WinError (5|32)\b|Access is denied": (
        "There is no permission to write in {home}, or a file there is in use.\n"
        "What to do: end other MedPrep runs, or copy MedPrep to a folder of your own."
    ),
    r"No matching distribution found|Could not find a version|conflicting dependencies": (
        "A package is not offered for this computer (Python {python} on {platform}).\n"
        "Expected: Linux or Windows on a 64-bit Intel or AMD processor, or macOS on Apple silicon; and an\n"
        "index (or MEDPREP_WHEELS folder) that holds every package of constraints.txt for this Python.\n"
        "What to do: look at the index that pip uses (python3 -m pip config list) or into that folder."
    ),
}


def explain(output: str, doing: str, home: str, log: str = "") -> str:
    """A message for the user from what a tool printed while `doing` something."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    for pattern, message in CAUSES.items():
        if re.search(pattern, output):
            text = message.format(home=home, python=python, platform=sys.platform)
            break
    else:
        text = f"Something went wrong while {doing}.\nWhat to do: run this again; it starts anew."
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if line.startswith("ERROR")] or lines
    where = f" (all of them in {log})" if log else ""
    return "\n    ".join([f"{text}\nThe last words{where}:", *lines[-4:]])


def check_venv() -> None:
    """Debian ships Python without ensurepip: say so before anything is removed."""
    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            raise EnvironmentProblem(explain(f"No module named {name}", "", ""))


def install(environment: Environment) -> None:
    """pip-install the environment's requirements; the full output goes to its log file."""
    command = [environment.python, "-m", "pip", "install", "-r", environment.requirements[0]]
    command += ["--only-binary", ":all:", "--no-user", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    wheels = os.environ.get("MEDPREP_WHEELS", "")
    if wheels:
        wheels = os.path.abspath(wheels)
        if not os.path.isdir(wheels):
            raise EnvironmentProblem(
                f"MEDPREP_WHEELS names no folder: {wheels}\nExpected: a folder of wheels. {WITHOUT_NETWORK}"
            )
        command += ["--no-index", "--find-links", wheels]
    output = []
    with open(environment.log, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=environment.home,
            env=clean_variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for line in process.stdout:
                log.write(line)
                output.append(line)
                if re.match(r" *Downloading \S+\.whl \(\S+ [MG]B\)", line):
                    say("  " + line.strip())
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        raise EnvironmentProblem(
            explain("".join(output), "installing the packages", environment.home, environment.log)
        )
