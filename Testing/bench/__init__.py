"""Speed, memory and quality of MedPrep's operations beside their peers: ``python3 run.py bench``.

Nothing here is part of what ships, and no test asserts a time. Absolute times mean little elsewhere; ratios
measured in one run, one call after the other in turn, do.
"""
