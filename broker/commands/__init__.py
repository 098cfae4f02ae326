"""Every operation of the broker as a small immutable record, a module a noun.

A door builds a command, one place executes it, the door renders its result.
Commands and results are ``NamedTuple``: frozen, slotted, plain data, and four
times cheaper to import than frozen dataclasses, which a one-shot would pay at
every start. Each module ends with ``SYNTAX``, the words of its commands
(:mod:`broker.commands.grammar`).
"""
