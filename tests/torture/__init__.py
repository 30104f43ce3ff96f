"""Killed at any moment, out of room, the power cut: `make torture`, and a short run of it among the tests.

`house` is what must be true, `harm` is what is done to the service, `disk` makes file systems whose power can be cut,
`campaign` does it many times over. Runs as a process of its own (`python -m tests.torture`), with a mount namespace of
its own: whatever ends it takes the mounts and loop devices along.
"""
