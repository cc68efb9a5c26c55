"""The real pipeline on a virtual clock, with a modelled device and modelled clients."""
