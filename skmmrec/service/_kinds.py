"""Names of problems, which service and client share."""

# What the `type` of a problem begins with; its kind follows.
PREFIX = "urn:skmmrec:problem:"
