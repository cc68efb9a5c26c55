"""The reasons to refuse a request, one file each; see :mod:`stages.load.admission_policies`."""
