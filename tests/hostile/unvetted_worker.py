"""A real worker that does not vet archives, so that only the cage stands between a model and the machine.

With arguments it is the worker, as `gradclinic work`; without any it is that worker's zygote.
"""

from __future__ import annotations

import sys

from gradclinic_worker.process import zygote_process


def be_zygote() -> None:
    """Serve executors whose engine loads whatever it gets."""
    settings = zygote_process.read_settings()
    from gradclinic_engine.torchscript import archive  # noqa: PLC0415 - only the zygote loads torch
    from gradclinic_worker.analysis import analyse  # noqa: PLC0415 - the same

    archive.vet = lambda path, *, field: None  # noqa: ARG005 - the names of the arguments count
    archive._vet_functions = lambda unit, field: None  # noqa: ARG005, SLF001 - it is what is taken away
    zygote_process.run(analyse, settings)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import real_worker

        real_worker.ZYGOTE_COMMAND = (sys.executable, __file__)
        real_worker.main()
    else:
        be_zygote()
