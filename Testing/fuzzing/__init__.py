"""Broken and hostile inputs by the thousand, each read in a process of its own.

    python3 run.py python Testing/fuzzing --inputs 300 --seed 1 --kind files

See :mod:`fuzzing.campaign` for what is counted, and Docs/reliability.md for what is promised.
"""
