"""Tries h5stream with damaged files, hostile servers and random configurations."""
