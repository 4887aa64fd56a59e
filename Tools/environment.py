"""Makes, checks and mends the virtual environment beside run.py; only the standard library.

It is trusted only while its stamp fits: the stamp is written last, and holds what the environment was made
from (requirement files, folder, interpreter). Anything else is removed and made anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import time

LOCK_PATIENCE = 1800  # seconds to wait for another run that changes the environment


class EnvironmentProblem(Exception):
    """What a user can do something about."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Lock:
    """Many runs share an environment; one that changes it waits until it is alone.

    The lock ends with the process that holds it, so nothing stale can stay behind. Windows has only the lock
    against two changes at once: files in use cannot be removed there anyway. Where the file system has no
    locks, there is none.
    """

    def __init__(self, path: str) -> None:
        try:
            self.file = open(path, "a")  # noqa: SIM115  (open for as long as the process lives)
        except OSError:
            self.file = None  # a read-only checkout: nobody can change the environment either

    def share(self) -> None:
        self._take(alone=False)

    def alone(self) -> None:
        self._take(alone=True)

    def _take(self, alone: bool) -> None:
        if self.file is None:
            return
        self._release()
        start = time.monotonic()
        told = False
        while not self._try(alone):
            if not told:
                say("Waiting for another MedPrep run that uses or changes the environment (Ctrl-C gives up).")
                told = True
            if time.monotonic() - start > LOCK_PATIENCE:
                raise EnvironmentProblem(
                    f"Another MedPrep run has kept the environment busy for {LOCK_PATIENCE // 60} minutes.\n"
                    "What to do: end it, then run this again."
                )
            time.sleep(0.2)

    def _try(self, alone: bool) -> bool:
        try:
            if os.name == "nt":
                if alone:
                    import msvcrt

                    self.file.seek(0)
                    msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                os.set_inheritable(self.file.fileno(), True)  # exec hands it on to the verb
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return True

    def _release(self) -> None:
        with contextlib.suppress(OSError):  # it was not held
            if os.name == "nt":
                import msvcrt

                self.file.seek(0)
                msvcrt.locking(self.file.fileno(), msvcrt.LK_UNLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, fcntl.LOCK_UN)


class Environment:
    """The virtual environment `name` in the folder `home`; the first requirement file is what it installs."""

    def __init__(self, home: str, name: str, requirements: tuple[str, ...]) -> None:
        self.home, self.name = home, name
        self.folder = os.path.join(home, name)
        self.requirements = [os.path.join(home, part) for part in requirements]
        self.stamp = os.path.join(self.folder, "medprep-ready.txt")
        self.mark = os.path.join(self.folder, "made-by-run.py.txt")
        self.log = self.folder + "-install.log"
        self.scripts = os.path.join(self.folder, "Scripts" if os.name == "nt" else "bin")
        self.python = os.path.join(self.scripts, "python.exe" if os.name == "nt" else "python")

    def ready(self, again: bool = False) -> str:
        """Path of the environment's interpreter, made or mended if need be.

        Raises
        ------
        EnvironmentProblem : with what was wrong, what was expected and what to do.
        """
        lock = self._lock = Lock(self.folder + ".lock")  # kept: closing the file would release it
        lock.share()
        if again or self.trouble():
            lock.alone()
            reason = "asked for" if again else self.trouble()  # another run may have mended it meanwhile
            if reason:
                self._make(reason)
            lock.share()
        return self.python

    def trouble(self) -> str:
        """Why the environment cannot be used, or an empty string."""
        if not os.path.isdir(self.folder):
            return "first use"
        try:
            with open(self.stamp, encoding="utf-8") as file:
                facts = dict(line.rstrip("\n").split("=", 1) for line in file)
        except (OSError, ValueError):
            return "it was not finished"
        if facts.get("folder") != self.folder:
            return "it was moved or copied here"
        if facts.get("requirements") != self._requirements_hash():
            return "the requirements changed"
        if not (os.path.isfile(self.python) and os.access(self.python, os.X_OK)):
            return "its Python is gone"
        if not os.path.isdir(facts.get("packages", "")):
            return "its packages are gone"
        if facts.get("interpreter") != fingerprint(self.python, facts.get("base", "")):
            if self._ask_python() != [facts.get("python"), facts.get("packages")]:
                return "its Python changed"
            # a patch release: still the same environment
            self._write_stamp(facts["requirements"], facts.get("base", ""))
        return ""

    def variables(self) -> dict[str, str]:
        """Environment variables for a program that runs in it."""
        variables = clean_variables()
        variables["VIRTUAL_ENV"] = self.folder
        variables["PATH"] = self.scripts + os.pathsep + variables.get("PATH", os.defpath)
        variables.setdefault("PYTHONUNBUFFERED", "1")  # progress shows at once, also through a pipe
        variables.setdefault("PYTHONUTF8", "1")
        return variables

    def _requirements_hash(self) -> str:
        digest = hashlib.sha256()
        for path in self.requirements:
            try:
                with open(path, "rb") as file:
                    digest.update(file.read().replace(b"\r\n", b"\n") + b"\0")
            except OSError as error:
                raise EnvironmentProblem(
                    f"Cannot read {path}: {error}.\nWhat to do: get a complete copy of MedPrep."
                ) from None
        return digest.hexdigest()

    def _ask_python(self) -> list[str]:
        """[version, site-packages] in the interpreter's own words; an empty list when it does not run."""
        code = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2]); "
        code += "print(sysconfig.get_path('purelib'))"
        status, output = run_quietly([self.python, "-I", "-c", code])
        return output.splitlines() if status == 0 else []

    def _write_stamp(self, requirements: str, base: str) -> None:
        answer = self._ask_python()
        if len(answer) != 2:
            raise EnvironmentProblem(f"The environment's Python does not run: {self.python}")
        facts = {
            "requirements": requirements,
            "folder": self.folder,
            "base": base,
            "python": answer[0],
            "packages": answer[1],
            "interpreter": fingerprint(self.python, base),
        }
        temporary = f"{self.stamp}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in facts.items())
        os.replace(temporary, self.stamp)

    def _make(self, reason: str) -> None:
        from install import check_venv, explain, install  # only now: a good environment starts faster

        check_venv()
        requirements = self._requirements_hash()  # before, in case they change while pip is at work
        say(f"Preparing {self.name} ({reason}). This takes some minutes.")
        start = time.monotonic()
        try:
            self._clear()
            os.mkdir(self.folder)
            with open(self.mark, "w", encoding="utf-8") as file:
                file.write("run.py made this folder and may delete it.\n")
            status, output = run_quietly([sys.executable, "-m", "venv", self.folder])
            if status:
                raise EnvironmentProblem(explain(output, "making the virtual environment", self.home))
            install(self)
            self._write_stamp(requirements, getattr(sys, "_base_executable", sys.executable))
        except (OSError, EnvironmentProblem) as error:
            with contextlib.suppress(OSError):
                self._clear()  # gives the disk space back
            if isinstance(error, EnvironmentProblem):
                raise
            raise EnvironmentProblem(explain(str(error), f"writing {self.folder}", self.home)) from None
        say(f"Ready after {time.monotonic() - start:.0f} s.")

    def _clear(self) -> None:
        """Remove the old environment; a folder that run.py did not make is set aside instead."""
        import glob
        import shutil

        if os.path.lexists(self.folder):
            empty = os.path.isdir(self.folder) and not os.listdir(self.folder)
            ours = empty or os.path.exists(self.mark)
            aside = f"{self.folder}.{'old' if ours else 'aside'}-{time.time_ns()}"
            os.rename(self.folder, aside)  # first: a half-removed folder must not look like the environment
            if not ours:
                say(f"{self.name} was not made by run.py; it is now {aside}.")
        for leftover in glob.glob(glob.escape(self.folder) + ".old-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def fingerprint(*paths: str) -> str:
    """Sizes and times of files (links followed): tells when an interpreter was replaced."""
    facts = []
    for path in paths:
        try:
            status = os.stat(path)
            facts.append(f"{status.st_size}:{status.st_mtime_ns}")
        except OSError:
            facts.append("none")
    return " ".join(facts)


def clean_variables() -> dict[str, str]:
    """This process's environment variables without those that would mix other packages into ours."""
    drop = {"PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"}
    return {**{key: value for key, value in os.environ.items() if key not in drop}, "PYTHONNOUSERSITE": "1"}


def run_quietly(command: list[str]) -> tuple[int, str]:
    """(exit status, everything printed); 127 when the program cannot be started."""
    import subprocess

    try:
        process = subprocess.run(
            command,
            env=clean_variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    return process.returncode, process.stdout
