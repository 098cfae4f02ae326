"""``python -m broker.cli`` is ``brokerctl``."""

from . import main

main()
