"""Measurements: the broker beside its peers in one run, and counts that CI holds.

``__main__`` runs the cases (``cases/``) on the servers (``peers/``) by the load generator
(``load/``, in C) and on the embedded queues (``stores``, ``drive``); ``aims`` says what each
figure is to be, ``report`` and ``plot`` show it. ``smoke`` counts, ``million`` and
``oneshot`` stand on their own. ``docs/performance.md`` explains what is measured.
"""
