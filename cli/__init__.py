"""The command line `brokerctl`, installed as the package broker.cli."""
